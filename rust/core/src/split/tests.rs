use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

static CLASSES: LazyLock<ClassTable> = LazyLock::new(|| ClassTable::with_rest(&[]));

fn pieces<'t>(text: &'t str, classes: &ClassTable) -> Result<Vec<&'t str>> {
    let mut scanner = Pieces::new(text, classes);
    let mut pieces = Vec::new();
    while let Some((start, end)) = scanner.next_piece()? {
        pieces.push(&text[start..end]);
    }
    Ok(pieces)
}

fn split(text: &str) -> Vec<&str> {
    pieces(text, &CLASSES).unwrap()
}

/// The regex, alternative by alternative, as a backtracking engine reads it. Slow, and written apart from the
/// scanner: over characters, each alternative a function from a place to the place where its match ends.
mod reference {
    use super::*;

    fn is(text: &[char], place: usize, classes: &ClassTable, wanted: Class) -> bool {
        text.get(place).is_some_and(|&character| classes.of(character.into()) == wanted)
    }

    /// ` ?X+`
    fn optional_blank_and_run(
        text: &[char],
        start: usize,
        classes: &ClassTable,
        wanted: Class,
    ) -> Option<usize> {
        let run = |first: usize| {
            let length = (first..text.len()).take_while(|&place| is(text, place, classes, wanted)).count();
            (length > 0).then_some(first + length)
        };
        let with_blank = if text[start] == ' ' { run(start + 1) } else { None };
        with_blank.or_else(|| run(start))
    }

    /// `\s+(?!\S)`: the longest run of white space after which no other character stands.
    fn white_space_before_none(text: &[char], start: usize, classes: &ClassTable) -> Option<usize> {
        let length = (start..text.len()).take_while(|&place| is(text, place, classes, Class::Space)).count();
        (1..=length)
            .rev()
            .map(|length| start + length)
            .find(|&end| end == text.len() || is(text, end, classes, Class::Space))
    }

    fn match_at(text: &[char], start: usize, classes: &ClassTable) -> usize {
        let contraction = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"].into_iter().find_map(|literal| {
            let characters: Vec<char> = literal.chars().collect();
            text[start..].starts_with(&characters).then_some(start + characters.len())
        });
        contraction
            .or_else(|| optional_blank_and_run(text, start, classes, Class::Letter))
            .or_else(|| optional_blank_and_run(text, start, classes, Class::Number))
            .or_else(|| optional_blank_and_run(text, start, classes, Class::Other))
            .or_else(|| white_space_before_none(text, start, classes))
            .unwrap_or(start + 1) // `\s+`: here it has one character only
    }

    pub(super) fn split(text: &str) -> Vec<String> {
        let text: Vec<char> = text.chars().collect();
        let mut pieces = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let end = match_at(&text, start, &CLASSES);
            pieces.push(text[start..end].iter().collect());
            start = end;
        }
        pieces
    }
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
fn an_unknown_code_point_is_named_wherever_it_stands() {
    let classes = ClassTable::unicode_14();
    for before in ["", "a", " ", "  ", "\t", "1 ", "'", "' ", "\n\n", "!"] {
        for after in ["", "a", " ", "'s"] {
            let text = format!("{before}\u{1c8a}{after}");
            let found = pieces(&text, &classes);
            assert_eq!(found, Err(Error::UnicodeRestNeeded { code_point: 0x1c8a }), "{before:?} {after:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn pieces_tile_the_text_and_equal_the_regex(text in text()) {
        let pieces = split(&text);
        prop_assert_eq!(pieces.concat(), text.clone());
        prop_assert_eq!(pieces, reference::split(&text));
    }
}
