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
use crate::instructions::Instructions;
use crate::split::boundaries::SEGMENT;
use crate::split::starts::Starts;
use crate::unicode::ClassTable;

/// Bytes of the clean text after which a stretch ends.
pub(crate) const STRETCH_BYTES: usize = 128;
const MAX_UNIT: usize = 32;
/// Blocks whose edges are made positions at once.
const BLOCKS: usize = SEGMENT / BLOCK;

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
    edges: Starts,
}

/// Of 64 bytes of the clean text, bit by bit: what belongs to units, line feeds.
#[derive(Debug, Clone, Copy, Default)]
struct UnitMasks {
    unit: u64,
    line_feed: u64,
}

/// The first line feed from `place` on that lies before `end`.
fn next_line_feed(masks: &[UnitMasks], place: usize, end: usize) -> Option<usize> {
    let mut skipped = place % BLOCK;
    let blocks = place / BLOCK..end.div_ceil(BLOCK);
    for (block, masks) in blocks.zip(&masks[place / BLOCK..]) {
        let bits = masks.line_feed >> skipped << skipped;
        if bits != 0 {
            return Some(block * BLOCK + bits.trailing_zeros() as usize).filter(|&place| place < end);
        }
        skipped = 0;
    }
    None
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
        let Noised { text: out, stretches, masks, edges } = noised;
        out.clear();
        stretches.clear();
        self.find_units(instructions, text.as_bytes(), classes, masks);
        let mut walk = Walk {
            source: self,
            random: RandomWords::new(self.seed, self.noise as u64, document_hash),
            text,
            masks,
            out,
            stretches,
            unit: Vec::with_capacity(MAX_UNIT),
            stretch_start: 0,
            stop: 0,
            copied: 0,
        };
        let mut last = 0;
        // Where the unit began that the last segment left open.
        let mut open = None;
        let mut edge_masks = [0; BLOCKS];
        for (number, segment) in masks.chunks(BLOCKS).enumerate() {
            for (edge, masks) in edge_masks.iter_mut().zip(segment) {
                *edge = masks.unit ^ (masks.unit << 1 | last);
                last = masks.unit >> 63;
            }
            edges.clear();
            edges.append(instructions, &edge_masks[..segment.len()], 0);
            let base = number * SEGMENT;
            let mut places = edges.as_slice();
            if let (Some(start), Some((&end, rest))) = (open, places.split_first()) {
                walk.run(start, base + end as usize);
                (open, places) = (None, rest);
            }
            let (units, rest) = places.as_chunks::<2>();
            for &[start, end] in units {
                walk.run(base + start as usize, base + end as usize);
            }
            if let Some(&start) = rest.first() {
                open = Some(base + start as usize);
            }
        }
        walk.finish();
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
            masks.push(UnitMasks { unit, line_feed: ascii.line_feed });
        }
        // Where the last unit ends at the latest.
        masks.push(UnitMasks::default());
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

/// The way through a text, from unit to unit.
struct Walk<'a> {
    source: NoiseSource,
    random: RandomWords,
    text: &'a str,
    masks: &'a [UnitMasks],
    out: &'a mut String,
    stretches: &'a mut Vec<(usize, usize)>,
    /// Working memory.
    unit: Vec<char>,
    stretch_start: usize,
    /// No stretch ends with a unit that ends before, nor in front of it.
    stop: usize,
    /// What lies before is in `out`; what is not changed is copied with what lies around it.
    copied: usize,
}

impl Walk<'_> {
    /// Go on to a run of what belongs to units.
    #[inline]
    fn run(&mut self, start: usize, end: usize) {
        let mut start = start;
        while end - start > MAX_UNIT {
            let characters = self.text[start..end].chars().take(MAX_UNIT);
            let part = start + characters.map(char::len_utf8).sum::<usize>();
            self.one(start, part);
            start = part;
        }
        if start < end {
            self.one(start, end);
        }
    }

    /// Go on to a unit, and change it or not.
    #[inline]
    fn one(&mut self, start: usize, end: usize) {
        let may_stop = end >= self.stop;
        if may_stop {
            self.end_stretches(start);
        }
        if self.random.next() >> 32 < self.source.rate {
            self.change(start, end);
        }
        if may_stop {
            if end - self.stretch_start >= STRETCH_BYTES {
                self.end_stretch(end);
            }
            let full = self.stretch_start + STRETCH_BYTES;
            let end = full.min(self.text.len());
            self.stop = next_line_feed(self.masks, self.stretch_start, end).unwrap_or(full);
        }
    }

    #[inline(never)]
    fn change(&mut self, start: usize, end: usize) {
        self.out.push_str(&self.text[self.copied..start]);
        self.unit.clear();
        self.unit.extend(self.text[start..end].chars());
        self.source.change(&self.unit, &mut self.random, self.out);
        self.copied = end;
    }

    /// End the stretches that end between units, up to `start`.
    #[inline(never)]
    fn end_stretches(&mut self, start: usize) {
        loop {
            let mut end = self.stretch_start + STRETCH_BYTES;
            while end < self.text.len() && !self.text.is_char_boundary(end) {
                end += 1;
            }
            let line_feed = next_line_feed(self.masks, self.stretch_start, end.min(start));
            let end = line_feed.map_or(end, |line_feed| line_feed + 1);
            if end > start {
                return;
            }
            self.end_stretch(end);
        }
    }

    fn end_stretch(&mut self, end: usize) {
        self.stretches.push((end, self.out.len() + end - self.copied));
        self.stretch_start = end;
    }

    fn finish(mut self) {
        self.end_stretches(self.text.len());
        self.out.push_str(&self.text[self.copied..]);
        self.copied = self.text.len();
        if self.stretch_start < self.text.len() {
            self.end_stretch(self.text.len());
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
    use super::super::words::is_letter;
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

    /// Bytes of the unit that `text` begins with.
    fn unit_length(source: NoiseSource, text: &str, classes: &ClassTable) -> usize {
        let is_in_unit = |character: &char| match source.noise {
            Noise::Whitespace => matches!(character, ' ' | '\t'),
            _ => is_letter(classes.of(u32::from(*character))),
        };
        text.chars().take(MAX_UNIT).take_while(is_in_unit).map(char::len_utf8).sum()
    }

    /// Unit by unit, character by character.
    fn plainly_noised(source: NoiseSource, text: &str, document_hash: u64) -> Noised {
        let classes = ClassTable::unicode_14_and_others();
        let mut random = RandomWords::new(source.seed, source.noise as u64, document_hash);
        let Noised { text: mut out, mut stretches, .. } = Noised::default();
        let (mut place, mut stretch_start) = (0, 0);
        while let Some(first) = text[place..].chars().next() {
            let start = place;
            place += unit_length(source, &text[start..], &classes);
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
        Noised { text: out, stretches, ..Noised::default() }
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
