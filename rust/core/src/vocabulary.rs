//! Read a `tokenizer.json` into ids, bytes, merges and the way of splitting, and decide whether this engine covers it.
//!
//! Covered is byte-level BPE with one of the patterns of `split::patterns` or none, and around it what `preparation` can do.
//! Everything else is `UnsupportedTokenizer` with a reason, never an approximation; what cannot be read at all is
//! `InvalidTokenizer`.

mod added_tokens;
mod token_index;
mod token_table;

use std::sync::Arc;

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::byte_alphabet::byte_characters;
use crate::error::{Error, Result, invalid, unsupported};
use crate::preparation::Preparation;
use crate::split::Splitting;
use crate::split::patterns::PreTokenizer;
use crate::tokenizer_json::{CoveredFile, Merges, Text, TokenizerFile};
pub(crate) use token_index::TokenIndex;
use token_table::TokenTable;

/// Ids index arrays, so a hostile file with the one id 4,294,967,295 must not cost 100 GB.
const MAX_COVERED_ID: u32 = (1 << 24) - 1;

/// One merge: `left` next to `right` becomes `merged`. Its rank is its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    /// Id of the left token.
    pub left: u32,
    /// Id of the right token.
    pub right: u32,
    /// Id of the token they make.
    pub merged: u32,
}

/// The vocabulary of a byte-level BPE model, and how texts are cut for it.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    byte_ids: [u32; 256],
    merges: Vec<Merge>,
    tokens: Arc<TokenTable>,
    /// Tokens of the model, added ones that it lacks left out.
    num_model_tokens: usize,
    splitting: Splitting,
    preparation: Preparation,
    /// Where the model takes a piece that is a token as a whole (`ignore_merges`).
    whole_tokens: Option<Arc<TokenIndex>>,
    /// Added tokens that are not special.
    matched: Vec<Matched>,
}

/// An added token that is not special, so that it is looked for in texts.
#[derive(Debug, Clone, Copy)]
struct Matched {
    id: u32,
    /// It always stands for just as many bytes as its id decodes to.
    covers_its_bytes: bool,
}

impl Vocabulary {
    /// Parse a `tokenizer.json`.
    pub fn from_json(json: &str) -> Result<Self> {
        Ok(Self::from_json_with_head(json)?.0)
    }

    /// As `from_json`; gives also the JSON without the vocabulary and the merges of the model, which is nearly all of it.
    pub fn from_json_with_head(json: &str) -> Result<(Self, String)> {
        let file = TokenizerFile::parse(json)?;
        let vocabulary = Self::from_covered(&file.covered()?)?;
        Ok((vocabulary, file.head()))
    }

    fn from_covered(file: &CoveredFile<'_>) -> Result<Self> {
        let names = Names::new(&file.vocab.0)?;
        let byte_ids = names.byte_ids()?;
        let merges = names.merges(&file.merges)?;
        let mut tokens = names.token_table();
        let whole_ids = if file.ignore_merges { tokens.ids_in_byte_alphabet() } else { Vec::new() };
        let added = added_tokens::with_ids(&names, &file.added_tokens, &mut tokens)?;
        let PreTokenizer { splitting, adds_prefix_space } = file.pre_tokenizer;
        let preparation = added_tokens::preparation(&added, file.normalizes, adds_prefix_space)?;
        let matched = added
            .iter()
            .filter(|(token, _)| !token.special)
            .map(|&(token, id)| Matched {
                id,
                covers_its_bytes: token.lstrip != Some(true)
                    && token.rstrip != Some(true)
                    && tokens.get(id) == Some(token.content.as_bytes()),
            })
            .collect();
        let tokens = Arc::new(tokens);
        let whole_tokens =
            file.ignore_merges.then(|| Arc::new(TokenIndex::new(Arc::clone(&tokens), &whole_ids)));
        let num_model_tokens = names.id_of.len();
        Ok(Self { byte_ids, merges, tokens, num_model_tokens, splitting, preparation, whole_tokens, matched })
    }

    /// A vocabulary of the 256 bytes (byte b has id b) and the given merges (merge k makes id 256 + k): for
    /// tests and benches.
    ///
    /// # Errors
    ///
    /// `InvalidTokenizer` where a merge uses an id that does not exist before it.
    pub fn from_merges(pairs: &[(u32, u32)]) -> Result<Self> {
        let mut tokens = TokenTable::default();
        for (byte, id) in (0..=u8::MAX).zip(0..) {
            tokens.insert(id, &[byte]);
        }
        let mut merges = Vec::with_capacity(pairs.len());
        for (&(left, right), merged) in pairs.iter().zip(256..) {
            let bytes = |id: u32| match tokens.get(id) {
                Some(bytes) => Ok(bytes),
                None => Err(invalid(format!("merge {merged} uses id {id} (expected one made before it)"))),
            };
            let joined = [bytes(left)?, bytes(right)?].concat();
            tokens.insert(merged, &joined);
            merges.push(Merge { left, right, merged });
        }
        let byte_ids = std::array::from_fn(|byte| u32::try_from(byte).unwrap_or(0));
        let num_model_tokens = tokens.num_tokens();
        Ok(Self {
            byte_ids,
            merges,
            tokens: Arc::new(tokens),
            num_model_tokens,
            splitting: Splitting::Gpt2,
            preparation: Preparation::default(),
            whole_tokens: None,
            matched: Vec::new(),
        })
    }

    /// The same vocabulary for texts that are cut otherwise: for tests and benches.
    #[must_use]
    pub fn with_splitting(self, splitting: Splitting) -> Self {
        Self { splitting, ..self }
    }

    /// How texts are cut into pieces.
    #[must_use]
    pub fn splitting(&self) -> Splitting {
        self.splitting
    }

    /// The id of each single byte.
    #[must_use]
    pub fn byte_ids(&self) -> &[u32; 256] {
        &self.byte_ids
    }

    /// The merges, by rank. A pair that stands twice counts with its last rank.
    #[must_use]
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// The bytes a token stands for, `None` where no token has this id.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.tokens.get(id)
    }

    /// The largest id, added tokens included.
    #[must_use]
    pub fn max_token_id(&self) -> u32 {
        self.tokens.max_id()
    }

    /// How many tokens the model has, added ones that it lacks left out.
    #[must_use]
    pub fn num_model_tokens(&self) -> usize {
        self.num_model_tokens
    }

    /// How many tokens there are, added ones included.
    #[must_use]
    pub fn num_tokens(&self) -> usize {
        self.tokens.num_tokens()
    }

    /// A token as the file spells it, `None` where no token has this id.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.tokens.spelling(id)
    }

    /// The id of a token as the file spells it. Looks at all tokens: this is for the few that have a role.
    #[must_use]
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.tokens.find(token)
    }

    /// Whether some text may be encoded to this id, special tokens being text: it is a byte, made by a merge, or an added
    /// token that is not special. (A piece that is a token as a whole is not thought of.)
    #[must_use]
    pub fn is_reachable(&self, id: u32) -> bool {
        self.byte_ids.contains(&id)
            || self.merges.iter().any(|merge| merge.merged == id)
            || self.matched.iter().any(|token| token.id == id)
    }

    /// Whether the bytes of the ids of a text are just its bytes, whatever the text.
    #[must_use]
    pub fn tiles_texts(&self) -> bool {
        !self.preparation.normalizes
            && !self.preparation.adds_prefix_space
            && self.matched.iter().all(|token| token.covers_its_bytes)
    }

    /// What besides cutting and merging decides ids, as a reader would call it.
    #[must_use]
    pub fn extras(&self) -> Vec<String> {
        let mut extras = Vec::new();
        if self.preparation.normalizes {
            extras.push("NFC".to_owned());
        }
        if self.preparation.adds_prefix_space {
            extras.push("add_prefix_space".to_owned());
        }
        if self.whole_tokens.is_some() {
            extras.push("ignore_merges".to_owned());
        }
        match self.matched.len() {
            0 => {}
            1 => extras.push("1 added token that is not special".to_owned()),
            count => extras.push(format!("{count} added tokens that are not special")),
        }
        extras
    }

    pub(crate) fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    pub(crate) fn whole_tokens(&self) -> Option<&Arc<TokenIndex>> {
        self.whole_tokens.as_ref()
    }

    /// The bytes of a sequence of ids.
    ///
    /// # Errors
    ///
    /// `UnknownId` at the first id that is no token.
    pub fn decode(&self, ids: impl IntoIterator<Item = i64>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for id in ids {
            let token = u32::try_from(id).ok().and_then(|id| self.token_bytes(id));
            bytes.extend_from_slice(token.ok_or(Error::UnknownId { id, max: self.max_token_id() })?);
        }
        Ok(bytes)
    }
}

/// The tokens of the model by their names.
struct Names<'f> {
    id_of: FxHashMap<&'f str, u32>,
    /// By id.
    names: Vec<Option<&'f str>>,
}

impl<'f> Names<'f> {
    fn new(vocab: &'f [(Text<'_>, u32)]) -> Result<Self> {
        let max_id = vocab.iter().map(|(_, id)| *id).max().unwrap_or(0);
        check_id(max_id)?;
        let mut names = vec![None; max_id as usize + 1];
        let mut id_of = FxHashMap::with_capacity_and_hasher(vocab.len(), FxBuildHasher);
        for (Text(name), id) in vocab {
            if names[*id as usize].replace(name.as_ref()).is_some() {
                return Err(unsupported(format!("two tokens of the vocabulary share the id {id}")));
            }
            if id_of.insert(name.as_ref(), *id).is_some() {
                return Err(unsupported(format!("the token {name:?} stands twice in the vocabulary")));
            }
        }
        Ok(Self { id_of, names })
    }

    /// All tokens of the model by id.
    fn token_table(&self) -> TokenTable {
        let mut tokens = TokenTable::default();
        for (name, id) in self.names.iter().zip(0..) {
            if let Some(name) = name {
                tokens.insert_spelled(id, name);
            }
        }
        tokens
    }

    fn byte_ids(&self) -> Result<[u32; 256]> {
        let mut ids = [0; 256];
        for (byte, character) in byte_characters().into_iter().enumerate() {
            let mut buffer = [0; 4];
            let token: &str = character.encode_utf8(&mut buffer);
            ids[byte] = *self.id_of.get(token).ok_or_else(|| {
                unsupported(format!("the vocabulary lacks {token:?}, the token of the byte 0x{byte:02x}"))
            })?;
        }
        Ok(ids)
    }

    fn merges(&self, merges: &Merges<'_>) -> Result<Vec<Merge>> {
        let mut found: Vec<Merge> = Vec::with_capacity(merges.len());
        let mut joined = String::new();
        for pair in merges.pairs() {
            let (left, right) = pair?;
            let id = |token: &str| {
                self.id_of.get(token).copied().ok_or_else(|| {
                    invalid(format!(
                        "merge {left:?} {right:?} needs the token {token:?} (expected: in the vocabulary)"
                    ))
                })
            };
            // Mostly the token after that of the merge before, which spares a look-up.
            let next = found.last().map_or(0, |merge| merge.merged + 1);
            let is_joined = |name: &&str| {
                name.len() == left.len() + right.len() && name.starts_with(left) && name.ends_with(right)
            };
            let product = if self.names.get(next as usize).copied().flatten().as_ref().is_some_and(is_joined)
            {
                next
            } else {
                joined.clear();
                joined.push_str(left);
                joined.push_str(right);
                id(&joined)?
            };
            found.push(Merge { left: id(left)?, right: id(right)?, merged: product });
        }
        Ok(found)
    }
}

fn check_id(id: u32) -> Result<()> {
    if id > MAX_COVERED_ID {
        return Err(unsupported(format!(
            "the id {id} is larger than {MAX_COVERED_ID}, the largest this engine takes"
        )));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
