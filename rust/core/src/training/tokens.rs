//! The vocabulary while it grows: special tokens, then the alphabet, then what the merges make.

use rustc_hash::{FxHashMap, FxHashSet};

use super::budget::{Budget, allocation};
use crate::byte_alphabet::byte_characters;
use crate::error::Result;

/// What a token of the vocabulary is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Given by the caller.
    Given,
    /// Made by a merge of these two.
    Merge(u32, u32),
}

/// Tokens by id.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// Text of the given ones; empty for merges until `into_vocabulary`.
    given: Vec<String>,
    origins: Vec<Origin>,
    /// Number of symbols, which for symbols of the alphabet is the number of bytes they stand for.
    num_symbols: Vec<u32>,
    /// Special tokens that merges may form too: those of several characters of the alphabet.
    formable: FxHashMap<String, u32>,
    formable_lengths: FxHashSet<u32>,
    id_of_byte: [u32; 256],
}

impl Tokens {
    /// Special tokens in their order, then the alphabet by code point: `extra_alphabet` and the characters of the
    /// bytes that are wanted. A token that is there already keeps its id.
    pub(crate) fn new(special_tokens: &[String], extra_alphabet: &[char], bytes: &[bool; 256]) -> Self {
        let characters = byte_characters();
        let mut tokens = Self {
            given: Vec::new(),
            origins: Vec::new(),
            num_symbols: Vec::new(),
            formable: FxHashMap::default(),
            formable_lengths: FxHashSet::default(),
            id_of_byte: [u32::MAX; 256],
        };
        let mut id_of: FxHashMap<String, u32> = FxHashMap::default();
        let mut alphabet: Vec<char> = extra_alphabet.to_vec();
        alphabet.extend(
            characters.iter().zip(bytes).filter(|(_, wanted)| **wanted).map(|(character, _)| *character),
        );
        alphabet.sort_unstable();
        for token in special_tokens.iter().cloned().chain(alphabet.into_iter().map(String::from)) {
            if !id_of.contains_key(&token) {
                id_of.insert(token.clone(), tokens.next_id());
                tokens.given.push(token);
                tokens.origins.push(Origin::Given);
                tokens.num_symbols.push(1);
            }
        }
        for (byte, character) in characters.iter().enumerate() {
            if let Some(&id) = id_of.get(character.encode_utf8(&mut [0; 4]) as &str) {
                tokens.id_of_byte[byte] = id;
            }
        }
        tokens.formable = special_tokens
            .iter()
            .filter(|token| token.chars().nth(1).is_some() && token.chars().all(|c| characters.contains(&c)))
            .filter_map(|token| id_of.get_key_value(token))
            .map(|(token, &id)| (token.clone(), id))
            .collect();
        tokens.formable_lengths =
            tokens.formable.keys().filter_map(|token| u32::try_from(token.chars().count()).ok()).collect();
        tokens
    }

    /// Number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.origins.len()
    }

    /// The id of each byte's character; `u32::MAX` where the alphabet lacks it.
    pub(crate) fn id_of_byte(&self) -> &[u32; 256] {
        &self.id_of_byte
    }

    /// Bytes that a token stands for; of a special token that no merge has formed, 1.
    #[inline]
    pub(crate) fn num_symbols(&self, id: u32) -> usize {
        self.num_symbols[id as usize] as usize
    }

    /// The id of the token that a merge makes: a new one, unless a special token has the same text.
    pub(crate) fn merge(&mut self, left: u32, right: u32, budget: &Budget) -> Result<u32> {
        let num_symbols = self.num_symbols[left as usize] + self.num_symbols[right as usize];
        // Texts are put together only where the length fits: doing it at every merge would be quadratic in the
        // longest token.
        if self.formable_lengths.contains(&num_symbols)
            && let Some(&id) = self.formable.get(&(self.text(left) + &self.text(right)))
        {
            self.num_symbols[id as usize] = num_symbols;
            return Ok(id);
        }
        let id = self.next_id();
        budget.push(&mut self.origins, Origin::Merge(left, right))?;
        budget.push(&mut self.given, String::new())?;
        budget.push(&mut self.num_symbols, num_symbols)?;
        Ok(id)
    }

    fn next_id(&self) -> u32 {
        // The vocabulary size is checked to be below the two ids that the arena keeps for itself.
        u32::try_from(self.origins.len()).unwrap_or(u32::MAX)
    }

    fn text(&self, id: u32) -> String {
        match self.origins[id as usize] {
            Origin::Given => self.given[id as usize].clone(),
            Origin::Merge(left, right) => self.text(left) + &self.text(right),
        }
    }

    /// All tokens by id.
    pub(crate) fn into_vocabulary(self, budget: &Budget) -> Result<Vec<String>> {
        let mut vocabulary: Vec<String> = self.given;
        for (id, origin) in self.origins.into_iter().enumerate() {
            // The two parts are older than the token they make, so they are complete.
            if let Origin::Merge(left, right) = origin {
                let (left, right) = (&*vocabulary[left as usize], &*vocabulary[right as usize]);
                budget.reserve::<u8>(allocation(left.len() + right.len()))?;
                vocabulary[id] = [left, right].concat();
            }
        }
        Ok(vocabulary)
    }
}
