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

use super::hashing::RandomWords;
use super::words::is_letter;
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
    pub fn apply(self, text: &str, document_hash: u64, classes: &ClassTable, noised: &mut Noised) {
        let Noised { text: out, stretches } = noised;
        out.clear();
        stretches.clear();
        let mut random = RandomWords::new(self.seed, self.noise as u64, document_hash);
        let mut unit = Vec::with_capacity(MAX_UNIT);
        let mut stretch_start = 0;
        let mut place = 0;
        while let Some(first) = text[place..].chars().next() {
            unit.clear();
            let start = place;
            for character in text[place..].chars().take(MAX_UNIT) {
                if !self.is_in_unit(character, classes) {
                    break;
                }
                unit.push(character);
                place += character.len_utf8();
            }
            if unit.is_empty() {
                place += first.len_utf8();
                out.push(first);
            } else if random.next() >> 32 < self.rate {
                self.change(&unit, &mut random, out);
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
    }

    #[inline]
    fn is_in_unit(self, character: char, classes: &ClassTable) -> bool {
        match self.noise {
            Noise::Whitespace => matches!(character, ' ' | '\t'),
            _ if character.is_ascii() => character.is_ascii_alphabetic(),
            _ => is_letter(classes.of(character.into())),
        }
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
        source.apply(text, 7, &ClassTable::unicode_14(), &mut noised);
        noised
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
        #[test]
        fn stretches_cut_both_texts(text in crate::testing::text(), number in 0_usize..4, rate in 0_u64..=1 << 32) {
            let text = text.repeat(3);
            let Noised { text: out, stretches } = noised(Noise::ALL[number], rate, &text);
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
