use onig::Regex;
use proptest::prelude::*;

use super::boundaries::SEGMENT;
use super::patterns::KNOWN;
use super::*;
use crate::Error;
use crate::testing;

static CLASSES: ClassTable = ClassTable::unicode_14_and_others();

fn pieces<'t>(splitting: Splitting, text: &'t str, classes: &ClassTable) -> Result<Vec<&'t str>> {
    let mut scanner = Pieces::new(splitting, text, classes);
    let mut pieces = Vec::new();
    while let Some((start, end)) = scanner.next_piece()? {
        pieces.push(&text[start..end]);
    }
    Ok(pieces)
}

fn split(splitting: Splitting, text: &str) -> Vec<&str> {
    pieces(splitting, text, &CLASSES).unwrap()
}

/// The pieces as Oniguruma cuts them, with which `tokenizers` does: independent of everything here.
fn split_by_oniguruma<'t>(regex: &Regex, text: &'t str) -> Vec<&'t str> {
    let mut pieces = Vec::new();
    let mut end = 0;
    for (start, stop) in regex.find_iter(text) {
        assert_eq!(start, end, "the matches tile the text");
        pieces.push(&text[start..stop]);
        end = stop;
    }
    assert_eq!(end, text.len(), "the matches tile the text");
    pieces
}

/// Texts with the shapes that matter: contractions, runs of white space, marks, characters of all lengths.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[a-zA-Z]{1,6}",
        2 => "[0-9½²٣]{1,4}",
        3 => "[ \\t\\n\\r\u{a0}\u{2003}\u{3000}\u{85}]{1,4}",
        3 => "'(s|t|re|ve|m|ll|d|S|r|l|x)",
        2 => "[!-/:-@'\u{301}\u{1f600}\u{200d}]{1,3}",
        2 => "[éñжשع中ｱ\u{10400}]{1,4}",
        1 => "\\PC{0,5}",
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

#[test]
fn goldens() {
    let split = |text| split(Splitting::Gpt2, text);
    assert_eq!(split(""), Vec::<&str>::new());
    assert_eq!(split("I'll say  12%\n"), ["I", "'ll", " say", " ", " 12", "%", "\n"]);
    assert_eq!(
        split("def f(x):\n    return x\n"),
        ["def", " f", "(", "x", "):", "\n   ", " return", " x", "\n"]
    );
    assert_eq!(split("a\u{a0}b \u{3000} c  "), ["a", "\u{a0}", "b", " \u{3000}", " c", "  "]);
    assert_eq!(split("don't DON'T !'s ''s"), ["don", "'t", " DON", "'", "T", " !'", "s", " ''", "s"]);
    assert_eq!(
        split("a\n\nb"),
        ["a", "\n", "\n", "b"],
        "white space keeps one for a word, but only a blank joins it"
    );
    assert_eq!(split("e\u{301}1½"), ["e", "\u{301}", "1½"]);
}

#[test]
fn goldens_of_cl100k() {
    let named = |name: &str| KNOWN.iter().find(|known| known.0 == name).unwrap().2;
    let (cl100k, qwen, tiktoken) =
        (named("cl100k"), named("Qwen 2"), named("cl100k (as tiktoken writes it)"));
    assert_eq!(split(cl100k, "I'LL say  12%\n"), ["I", "'LL", " say", " ", " ", "12", "%\n"]);
    assert_eq!(
        split(cl100k, "def f(x):\n    return x\n"),
        ["def", " f", "(x", "):\n", "   ", " return", " x", "\n"]
    );
    assert_eq!(split(cl100k, "1234567 \t(x.y)"), ["123", "456", "7", " ", "\t", "(x", ".y", ")"]);
    assert_eq!(split(cl100k, "a \n  \n\tb!\n \n c"), ["a", " \n  \n", "\tb", "!\n", " \n", " c"]);
    assert_eq!(split(cl100k, "'\u{17f}x ''s \u{301}x"), ["'\u{17f}", "x", " ''", "s", " \u{301}", "x"]);
    assert_eq!(split(qwen, "a123"), ["a", "1", "2", "3"]);
    assert_eq!(split(cl100k, "a \n  "), ["a", " \n", "  "]);
    assert_eq!(split(tiktoken, "a12345 \n  "), ["a", "12345", " \n  "]);
}

#[test]
fn goldens_of_o200k() {
    let split = |text| split(Splitting::O200k, text);
    assert_eq!(split("it's aHTMLParser!"), ["it's", " a", "HTMLParser", "!"]);
    assert_eq!(split("fooBar DON'Ts x'y"), ["foo", "Bar", " DON'T", "s", " x", "'y"]);
    assert_eq!(split("中文ABC 使用API来"), ["中文", "ABC", " 使用API来"]);
    assert_eq!(split("a's't"), ["a's", "'t"]);
    assert_eq!(split("};\n// x\n/y"), ["};\n//", " x", "\n", "/y"]);
    assert_eq!(
        split("!!\u{301}a !\u{301}b c\u{301}D"),
        ["!!\u{301}", "a", " !\u{301}", "b", " c\u{301}", "D"]
    );
}

#[test]
fn goldens_of_code() {
    let split = |text| split(Splitting::Code, text);
    assert_eq!(split("if x:\n    ret 12"), ["if", " x", ":\n    ", "ret", " ", "1", "2"]);
    assert_eq!(split("a\n\n  b  = 'self'\n"), ["a", "\n\n  ", "b", "  ", "=", " '", "self", "'\n"]);
    assert_eq!(split("a \n\tb\tc !x \t!x"), ["a", " \n\t", "b", "\tc", " !", "x", " \t", "!x"]);
}

#[test]
fn an_unknown_code_point_is_named_wherever_it_stands() {
    let classes = ClassTable::unicode_14();
    for before in ["", "a", " ", "  ", "\t", "1 ", "'", "' ", "\n\n", "!"] {
        for after in ["", "a", " ", "'s"] {
            let text = format!("{before}\u{1c8a}{after}");
            for splitting in Splitting::all() {
                let found = pieces(splitting, &text, &classes);
                assert_eq!(
                    found,
                    Err(Error::UnicodeRestNeeded { code_point: 0x1c8a }),
                    "{before:?} {after:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn pieces_are_those_of_the_regex(text in prop_oneof![text(), testing::text()]) {
        // Which characters Oniguruma knows beyond Unicode 14 is another question.
        prop_assume!(ClassTable::unicode_14().unassigned_in([text.as_str()]).iter().next().is_none());
        for (name, regex, splitting) in KNOWN {
            let regex = Regex::new(regex).unwrap();
            prop_assert_eq!(split(*splitting, &text), split_by_oniguruma(&regex, &text), "{}", name);
        }
    }

    #[test]
    fn fast_starts_are_the_plain_ones(text in prop_oneof![text(), testing::text()]) {
        for splitting in Splitting::all() {
            let expected = plain_starts(splitting, &text, &CLASSES).unwrap();
            for instructions in Instructions::available() {
                let found = fast_starts(splitting, instructions, &text, &CLASSES).unwrap();
                prop_assert_eq!(&found, &expected, "{} {}", splitting.name(), instructions.name());
            }
        }
    }
}

/// What reaches over an edge of 64 bytes or of 2 KB: contractions, groups of numbers, lines of white space, runs that the
/// plain scanner has to see the end of.
#[test]
fn shapes_across_the_edges_of_blocks() {
    let shapes = [
        "'s",
        "'t",
        "'re",
        "'ll",
        "'lx",
        "'s's",
        "''s",
        " 's",
        "\n's",
        "'\u{17f}",
        "12345",
        "٣٤٥٦٧",
        "\n   \n",
        "!\n   \n",
        "\n \u{3000} \n",
        "!\n//",
        "中A",
        "中Aa",
        "中AB中",
        "!\u{301}",
        "…\u{301}",
        "\u{1f600}a",
        " \u{a0}a",
        "aB",
        "éÉ",
    ];
    let fillers = ["a", " ", "1", "中", "-", "\n", "\u{301}", "A"];
    for shape in shapes {
        for padding in (50..70).chain(SEGMENT - 6..SEGMENT + 3) {
            for after in ["", "x", " y", "'", "1", "\n", "  "] {
                for filler in fillers {
                    let text = filler.repeat(padding / filler.len())
                        + &"x".repeat(padding % filler.len())
                        + shape
                        + after;
                    for splitting in Splitting::all() {
                        let expected = plain_starts(splitting, &text, &CLASSES).unwrap();
                        for instructions in Instructions::available() {
                            let found = fast_starts(splitting, instructions, &text, &CLASSES).unwrap();
                            assert_eq!(
                                found,
                                expected,
                                "{} {filler:?} {padding} {shape:?} {after:?}",
                                splitting.name()
                            );
                        }
                    }
                }
            }
        }
    }
}

/// One piece, one doubt or one run over many segments.
#[test]
fn long_runs() {
    let long = |part: &str| part.repeat(9_000 / part.len());
    let texts = [
        format!("a\n{}\nb", long(" ")),
        format!("!\n{}\nb", long("\t")),
        format!("a\n{}", long(" ")),
        format!("a{}", long(" \n")),
        format!("!{}x", long("\n")),
        format!("a{}b", long("7")),
        format!("a{}b", long("٣")),
        format!("{}B", long("中A")),
        format!("{}b", long("中A")),
        format!("a{}", long("A中")),
        format!("a!{}b", long("\u{301}")),
        format!("a;\n{}b", long("/")),
        format!("a{}b", long("'s")),
        format!("a{}b", long("\u{3000}")),
        format!("a\n{}\nb", long("\u{3000}")),
    ];
    for text in texts {
        for splitting in Splitting::all() {
            let expected = plain_starts(splitting, &text, &CLASSES).unwrap();
            for instructions in Instructions::available() {
                let found = fast_starts(splitting, instructions, &text, &CLASSES).unwrap();
                assert_eq!(found, expected, "{} {:?}", splitting.name(), &text[..20]);
            }
        }
    }
}

#[test]
fn the_masks_ask_for_an_unassigned_code_point() {
    let text = "x".repeat(100) + "\u{378}";
    for splitting in Splitting::all() {
        let result = fast_starts(splitting, Instructions::fastest(), &text, &ClassTable::unicode_14());
        assert_eq!(result, Err(Error::UnicodeRestNeeded { code_point: 0x378 }));
    }
}
