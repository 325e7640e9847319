//! Texts with small faults, made the same way each time: a function of the seed, the kind of noise and the document.
//!
//! A text is walked unit by unit: for misspelling, case and homoglyphs a unit is a run of letters (`\p{L}`), for white
//! space a run of blanks and tabs; longer runs are taken 32 characters at a time. A unit is changed with the
//! probability that was asked for.
//!
//! ```text
//! misspelling   one letter: swapped with the next, left out, doubled, or replaced by another one of the unit
//! case          the unit in capitals, in small letters, or one letter in the other case
//! whitespace    one blank: left out, doubled, a tab for a blank (a blank for a tab), or a no-break space
//! homoglyphs    one Latin letter by the Cyrillic one that looks alike
//! ```
//!
//! Lines stay lines, so that tokens can be compared stretch by stretch: a stretch ends after each line feed, and after
//! the unit or character that makes it `STRETCH_BYTES` long.

use super::blocks::Kinds;
use super::hashing::RandomWords;
use super::masks::{BLOCK, ascii_kinds};
use super::words::is_letter;
use crate::instructions::Instructions;
use crate::unicode::ClassTable;

/// Bytes of the clean text after which a stretch ends.
pub(crate) const STRETCH_BYTES: usize = 128;
const MAX_UNIT: usize = 32;

/// A kind of noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Noise {
    /// Letters swapped, left out, doubled, replaced.
    Misspelling,
    /// Capitals and small letters.
    Case,
    /// Blanks left out, doubled, of another kind.
    Whitespace,
    /// Letters of another script that look alike.
    Homoglyphs,
}

impl Noise {
    /// All of them, by number.
    pub const ALL: [Self; 4] = [Self::Misspelling, Self::Case, Self::Whitespace, Self::Homoglyphs];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Misspelling => "misspelling",
            Self::Case => "case",
            Self::Whitespace => "whitespace",
            Self::Homoglyphs => "homoglyphs",
        }
    }

    /// The noise of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|noise| noise.name() == name)
    }
}

/// A text with noise, and where its stretches end.
#[derive(Debug, Default)]
pub struct Noised {
    /// The text.
    pub text: String,
    /// `(end in the clean text, end in this one)` of each stretch, in bytes, ascending; the last one ends both texts.
    pub stretches: Vec<(usize, usize)>,
    /// Of the clean text; working memory.
    masks: Vec<UnitMasks>,
}

/// Of 64 bytes of the clean text, bit by bit: what belongs to units, to characters that are no ASCII, line feeds.
#[derive(Debug, Clone, Copy, Default)]
struct UnitMasks {
    unit: u64,
    long: u64,
    line_feed: u64,
}

/// The masks of a text, and an empty one behind.
trait MasksOfText {
    /// The 64 bits from a place of the text on.
    fn bits(&self, place: usize, of: impl Fn(&UnitMasks) -> u64) -> u64;

    /// Where the next unit begins, from `place` on; `end` where there is none.
    fn next_unit(&self, place: usize, end: usize) -> usize {
        let mut place = place;
        while place < end {
            let bits = self.bits(place, |masks| masks.unit);
            if bits != 0 {
                return place + bits.trailing_zeros() as usize;
            }
            place += BLOCK;
        }
        end
    }

    /// The first line feed from `place` on that lies before `end`.
    fn next_line_feed(&self, place: usize, end: usize) -> Option<usize> {
        for place in (place..end).step_by(BLOCK) {
            let bits = self.bits(place, |masks| masks.line_feed);
            if bits != 0 {
                return Some(place + bits.trailing_zeros() as usize).filter(|&place| place < end);
            }
        }
        None
    }

    /// Bytes of the unit at `place` if it is of ASCII characters alone.
    fn ascii_unit(&self, place: usize) -> Option<usize> {
        let length = (self.bits(place, |masks| masks.unit).trailing_ones() as usize).min(MAX_UNIT);
        let is_ascii = self.bits(place, |masks| masks.long).trailing_zeros() as usize >= length;
        is_ascii.then_some(length)
    }
}

impl MasksOfText for [UnitMasks] {
    fn bits(&self, place: usize, of: impl Fn(&UnitMasks) -> u64) -> u64 {
        let (block, skipped) = (place / BLOCK, place % BLOCK);
        // In two steps, for 64 is too far.
        of(&self[block]) >> skipped | of(&self[block + 1]) << 1 << (BLOCK - 1 - skipped)
    }
}

/// How much noise, and which.
#[derive(Debug, Clone, Copy)]
pub struct NoiseSource {
    /// The kind.
    pub noise: Noise,
    /// A unit is changed with the probability `rate` / 2^32.
    pub rate: u64,
    /// Another seed makes other changes.
    pub seed: u64,
}

impl NoiseSource {
    /// Write the noised form of `text`, a document with this hash, over `noised`.
    pub fn apply(
        self,
        instructions: Instructions,
        text: &str,
        document_hash: u64,
        classes: &ClassTable,
        noised: &mut Noised,
    ) {
        let Noised { text: out, stretches, masks } = noised;
        out.clear();
        stretches.clear();
        self.find_units(instructions, text.as_bytes(), classes, masks);
        let mut random = RandomWords::new(self.seed, self.noise as u64, document_hash);
        let mut unit = Vec::with_capacity(MAX_UNIT);
        let mut stretch_start = 0;
        let mut place = 0;
        // What lies before is in `out`; what is not changed is copied with what lies around it.
        let mut copied = 0;
        while place < text.len() {
            let start = masks.next_unit(place, text.len());
            // Stretches that end between the units.
            loop {
                let mut end = stretch_start + STRETCH_BYTES;
                while end < text.len() && !text.is_char_boundary(end) {
                    end += 1;
                }
                let end = masks.next_line_feed(place, end.min(start)).map_or(end, |line_feed| line_feed + 1);
                if end > start {
                    break;
                }
                stretches.push((end, out.len() + end - copied));
                (stretch_start, place) = (end, end);
            }
            if start == text.len() {
                break;
            }
            place =
                start + masks.ascii_unit(start).unwrap_or_else(|| self.unit_length(&text[start..], classes));
            if random.next() >> 32 < self.rate {
                out.push_str(&text[copied..start]);
                unit.clear();
                unit.extend(text[start..place].chars());
                self.change(&unit, &mut random, out);
                copied = place;
            }
            if place - stretch_start >= STRETCH_BYTES {
                stretches.push((place, out.len() + place - copied));
                stretch_start = place;
            }
        }
        out.push_str(&text[copied..]);
        if stretch_start < text.len() {
            stretches.push((text.len(), out.len()));
        }
    }

    fn find_units(
        self,
        instructions: Instructions,
        text: &[u8],
        classes: &ClassTable,
        masks: &mut Vec<UnitMasks>,
    ) {
        masks.clear();
        for start in (0..text.len()).step_by(BLOCK) {
            let rest = &text[start..];
            let mut padded = [0; BLOCK];
            let block = rest.first_chunk::<BLOCK>().unwrap_or_else(|| {
                padded[..rest.len()].copy_from_slice(rest);
                &padded
            });
            let ascii = ascii_kinds(instructions, block);
            let mut kinds = Kinds::of(ascii);
            if ascii.long != 0 && self.noise != Noise::Whitespace {
                kinds.add_long(ascii.long, text, start, classes);
            }
            let unit = if self.noise == Noise::Whitespace { ascii.blank } else { kinds.letter };
            masks.push(UnitMasks { unit, long: ascii.long, line_feed: ascii.line_feed });
        }
        // Where 64 bits are asked for that begin in the last block.
        masks.push(UnitMasks::default());
    }

    /// Bytes of the unit that `text` begins with.
    fn unit_length(self, text: &str, classes: &ClassTable) -> usize {
        let is_in_unit = |character: &char| match self.noise {
            Noise::Whitespace => matches!(character, ' ' | '\t'),
            _ => is_letter(classes.of(u32::from(*character))),
        };
        text.chars().take(MAX_UNIT).take_while(is_in_unit).map(char::len_utf8).sum()
    }

    fn change(self, unit: &[char], random: &mut RandomWords, out: &mut String) {
        match self.noise {
            Noise::Misspelling => misspell(unit, random, out),
            Noise::Case => change_case(unit, random, out),
            Noise::Whitespace => change_blank(unit, random, out),
            Noise::Homoglyphs => replace_by_homoglyph(unit, random, out),
        }
    }
}

fn misspell(unit: &[char], random: &mut RandomWords, out: &mut String) {
    let kind = random.below(4);
    if unit.len() < 2 {
        out.extend(unit);
        return;
    }
    // A swap needs a letter after it.
    let place = random.below(if kind == 0 { unit.len() - 1 } else { unit.len() });
    out.extend(&unit[..place]);
    match kind {
        0 => {
            out.extend([unit[place + 1], unit[place]]);
            out.extend(&unit[place + 2..]);
            return;
        }
        1 => {}
        2 => out.extend([unit[place], unit[place]]),
        _ => out.push(unit[random.below(unit.len())]),
    }
    out.extend(&unit[place + 1..]);
}

fn change_case(unit: &[char], random: &mut RandomWords, out: &mut String) {
    match random.below(3) {
        0 => out.extend(unit.iter().copied().map(upper)),
        1 => out.extend(unit.iter().copied().map(lower)),
        _ => {
            let place = random.below(unit.len());
            let letter = unit[place];
            out.extend(&unit[..place]);
            out.push(if upper(letter) == letter { lower(letter) } else { upper(letter) });
            out.extend(&unit[place + 1..]);
        }
    }
}

fn change_blank(unit: &[char], random: &mut RandomWords, out: &mut String) {
    let kind = random.below(4);
    let place = random.below(unit.len());
    out.extend(&unit[..place]);
    match kind {
        0 => {}
        1 => out.extend([unit[place], unit[place]]),
        2 => out.push(if unit[place] == ' ' { '\t' } else { ' ' }),
        _ => out.push('\u{a0}'),
    }
    out.extend(&unit[place + 1..]);
}

fn replace_by_homoglyph(unit: &[char], random: &mut RandomWords, out: &mut String) {
    let first = random.below(unit.len());
    let mut places = (first..unit.len()).chain(0..first);
    let found = places.find_map(|place| homoglyph(unit[place]).map(|letter| (place, letter)));
    for (place, &letter) in unit.iter().enumerate() {
        out.push(found.filter(|found| found.0 == place).map_or(letter, |found| found.1));
    }
}

/// The Cyrillic letter that looks like a Latin one, of those that Unicode's `confusables.txt` (UTS #39) pairs.
fn homoglyph(letter: char) -> Option<char> {
    const LATIN: &str = "aceopxyijsABCEHKMOPTXIJS";
    const CYRILLIC: &str = "асеорхуіјѕАВСЕНКМОРТХІЈЅ";
    LATIN.chars().zip(CYRILLIC.chars()).find(|(latin, _)| *latin == letter).map(|(_, cyrillic)| cyrillic)
}

/// `(first, last, distance)` of the small letters whose capital lies `distance` before: ASCII, Latin-1, Greek, Cyrillic.
const SMALL_LETTERS: [(char, char, u32); 7] = [
    ('a', 'z', 32),
    ('à', 'ö', 32),
    ('ø', 'þ', 32),
    ('α', 'ρ', 32),
    ('σ', 'ω', 32),
    ('а', 'я', 32),
    ('ѐ', 'џ', 80),
];

fn upper(letter: char) -> char {
    let found = SMALL_LETTERS.iter().find(|(first, last, _)| (*first..=*last).contains(&letter));
    found.and_then(|(_, _, distance)| char::from_u32(u32::from(letter) - distance)).unwrap_or(letter)
}

fn lower(letter: char) -> char {
    let small = |distance: u32| char::from_u32(u32::from(letter) + distance);
    let found = SMALL_LETTERS.iter().find_map(|(first, last, distance)| {
        small(*distance).filter(|small| (*first..=*last).contains(small))
    });
    found.unwrap_or(letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noised(noise: Noise, rate: u64, text: &str) -> Noised {
        let mut noised = Noised::default();
        let source = NoiseSource { noise, rate, seed: 1 };
        source.apply(Instructions::PORTABLE, text, 7, &ClassTable::unicode_14_and_others(), &mut noised);
        let plain = plainly_noised(source, text, 7);
        assert_eq!((&noised.text, &noised.stretches), (&plain.text, &plain.stretches), "{text:?}");
        for instructions in Instructions::available() {
            let mut other = Noised::default();
            source.apply(instructions, text, 7, &ClassTable::unicode_14_and_others(), &mut other);
            assert_eq!((&noised.text, &noised.stretches), (&other.text, &other.stretches), "{text:?}");
        }
        noised
    }

    /// Unit by unit, character by character.
    fn plainly_noised(source: NoiseSource, text: &str, document_hash: u64) -> Noised {
        let classes = ClassTable::unicode_14_and_others();
        let mut random = RandomWords::new(source.seed, source.noise as u64, document_hash);
        let Noised { text: mut out, mut stretches, .. } = Noised::default();
        let (mut place, mut stretch_start) = (0, 0);
        while let Some(first) = text[place..].chars().next() {
            let start = place;
            place += source.unit_length(&text[start..], &classes);
            if place == start {
                place += first.len_utf8();
                out.push(first);
            } else if random.next() >> 32 < source.rate {
                let unit: Vec<char> = text[start..place].chars().collect();
                source.change(&unit, &mut random, &mut out);
            } else {
                out.push_str(&text[start..place]);
            }
            if first == '\n' || place - stretch_start >= STRETCH_BYTES {
                stretches.push((place, out.len()));
                stretch_start = place;
            }
        }
        if stretch_start < text.len() {
            stretches.push((place, out.len()));
        }
        Noised { text: out, stretches, masks: Vec::new() }
    }

    #[test]
    fn case_is_changed_one_to_one() {
        for (small, capital) in "azàöøþαρσωаяѐџ".chars().zip("AZÀÖØÞΑΡΣΩАЯЀЏ".chars())
        {
            assert_eq!((upper(small), lower(capital)), (capital, small));
            assert_eq!((upper(capital), lower(small)), (capital, small));
        }
        for neither in "ß÷×ς1中".chars() {
            assert_eq!((upper(neither), lower(neither)), (neither, neither));
        }
    }

    #[test]
    fn every_unit_is_changed_at_the_full_rate() {
        let text = "some words of prose and self.items, 12 of them\n".repeat(20);
        for noise in Noise::ALL {
            let changed = noised(noise, 1 << 32, &text);
            assert_ne!(changed.text, text, "{}", noise.name());
            assert_eq!(noised(noise, 0, &text).text, text);
            assert_eq!(Noise::from_name(noise.name()), Some(noise));
        }
        assert!(noised(Noise::Homoglyphs, 1 << 32, "ace").text.chars().any(|letter| "асе".contains(letter)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Long runs, and line feeds and longer characters where stretches end.
        #[test]
        fn masks_find_the_same_units(
            parts in proptest::collection::vec("[a-z]{0,70}|[ \t]{0,70}|[\n\r.é中\u{301} 　]{0,9}|[.]{100,140}", 0..12),
            number in 0_usize..4,
            rate in 0_u64..=1 << 32,
        ) {
            noised(Noise::ALL[number], rate, &parts.concat());
        }

        #[test]
        fn stretches_cut_both_texts(text in crate::testing::text(), number in 0_usize..4, rate in 0_u64..=1 << 32) {
            let text = text.repeat(3);
            let Noised { text: out, stretches, .. } = noised(Noise::ALL[number], rate, &text);
            prop_assert!(stretches.is_sorted());
            prop_assert_eq!(stretches.last().copied().unwrap_or_default(), (text.len(), out.len()));
            let mut start = (0, 0);
            for &(end, noised_end) in &stretches {
                let (clean, noised) = (&text[start.0..end], &out[start.1..noised_end]);
                prop_assert!(clean.len() <= STRETCH_BYTES + 4 * MAX_UNIT);
                // Line feeds are kept, at the ends of stretches.
                prop_assert!(!clean.trim_end_matches('\n').contains('\n'));
                prop_assert_eq!(clean.ends_with('\n'), noised.ends_with('\n'));
                start = (end, noised_end);
            }
        }
    }
}
