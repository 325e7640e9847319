//! Texts and vocabularies for the tests of the stages.

use proptest::prelude::*;
use proptest::sample::select;

use crate::unicode::ClassTable;
use crate::vocabulary::Vocabulary;

/// What pieces are made of: every class, one to four bytes long, contractions and what looks like them, white space
/// of all kinds, signs that combine.
const FRAGMENTS: &[&str] = &[
    "a",
    "b",
    "Z",
    "the",
    "hello",
    " the",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    "\t",
    "\r\n",
    "\u{b}",
    "\u{1c}",
    "1",
    "22",
    "2024",
    "'",
    "''",
    "'s",
    "'t",
    "'m",
    "'d",
    "'re",
    "'ve",
    "'ll",
    "'r",
    "'l",
    "'S",
    "'LL",
    "don't",
    "we'll",
    "'s's",
    " 's",
    "'tx",
    "\u{a0}",
    "\u{85}",
    "\u{2003}",
    "\u{3000}",
    " \u{a0} ",
    "\u{3000}\u{3000}",
    "é",
    "ß",
    "Ж",
    "中",
    "文字",
    "日本語",
    "ก",
    "\u{301}",
    "e\u{301}",
    "٣",
    "½",
    "Ⅷ",
    "²",
    "𝟘",
    "𐍈",
    "😀",
    "👨\u{200d}👩\u{200d}👧",
    "❤\u{fe0f}",
    "\u{200b}",
    "\u{feff}",
    "…",
    "-",
    "--",
    "==",
    "=========",
    "________",
    "(",
    ")",
    "!",
    "?!",
    "./",
    "#",
    "\"",
    "\0",
    "\u{7f}",
    "<|endoftext|>",
    "HTMLParser",
    "fooBarB",
    "ǅ",
    "Éa",
    "ʰ",
    "中A",
    "A中",
    "'Ve",
    "'\u{17f}",
    "y's't",
    "٣٤٥٦٧",
    "12345678",
    "/",
    "//",
    ";\n",
    ";\n//",
    "\n/",
    "\n    ",
    "   \n",
    "\n\t \n",
    "!\r\n",
    "\u{2028}",
    "abcdefghijklmnop",
    "abcdefghijklmnopq",
    "0123456789abcdef0123456789abcdef",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// A text; half of them start such that the interesting part lies across an edge of 64 bytes or of 2 KB.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let fragments = prop::collection::vec(select(FRAGMENTS), 0..60).prop_map(|fragments| fragments.concat());
    let runs = prop::collection::vec((select(FRAGMENTS), 1_usize..40), 0..8).prop_map(|runs| {
        runs.into_iter().map(|(fragment, count)| fragment.repeat(count)).collect::<String>()
    });
    let padding = prop_oneof![Just(0_usize), 40_usize..70, 2000_usize..2100, 4060_usize..4100];
    (
        padding,
        select(&["x", " ", "é", "中", "-", "1", "x "][..]),
        prop_oneof![3 => fragments, 1 => runs, 1 => any::<String>()],
    )
        .prop_map(|(padding, filler, text)| filler.repeat(padding / filler.len()) + &text)
}

/// A vocabulary of the bytes and up to 200 merges, most of them of bytes that the fragments have, and sometimes one pair
/// twice.
pub(crate) fn vocabulary() -> impl Strategy<Value = Vocabulary> {
    prop::collection::vec((any::<u32>(), any::<u32>()), 0..200).prop_map(|seeds| {
        let frequent = b"a bthelo'sx1-=_\n\xc3\xa9\xe4\xb8\xad";
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for (left, right) in seeds {
            let pick = |seed: u32| {
                let num_products = u32::try_from(pairs.len()).unwrap();
                if num_products > 0 && seed.is_multiple_of(2) {
                    256 + seed / 2 % num_products
                } else {
                    u32::from(frequent[seed as usize / 2 % frequent.len()])
                }
            };
            let pair = (pick(left), pick(right));
            if !pairs.contains(&pair) || left.is_multiple_of(64) {
                pairs.push(pair);
            }
        }
        Vocabulary::from_merges(&pairs).unwrap()
    })
}

/// The compiled classes, unassigned code points taken for others.
pub(crate) fn classes() -> &'static ClassTable {
    static CLASSES: ClassTable = ClassTable::unicode_14_and_others();
    &CLASSES
}
