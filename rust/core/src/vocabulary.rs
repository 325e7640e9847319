//! Read a `tokenizer.json` into ids, bytes, merges and the way of splitting, and decide whether this engine covers it.
//!
//! Covered is byte-level BPE with one of the patterns of `split::patterns` and nothing around it that changes ids. Everything else is
//! `UnsupportedTokenizer` with a reason, never an approximation; what cannot be read at all is
//! `InvalidTokenizer`.

mod token_table;

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::byte_alphabet::byte_characters;
use crate::error::{Error, Result, invalid, unsupported};
use crate::split::Splitting;
use crate::tokenizer_json::{AddedToken, CoveredFile, Merges, Text, TokenizerFile};
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
    tokens: TokenTable,
    /// Tokens of the model, added ones that it lacks left out.
    num_model_tokens: usize,
    splitting: Splitting,
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
        let CoveredFile { vocab, merges, splitting, added_tokens } = file;
        let names = Names::new(&vocab.0)?;
        let byte_ids = names.byte_ids()?;
        let merges = names.merges(merges)?;
        let tokens = token_table(&names, added_tokens)?;
        Ok(Self { byte_ids, merges, tokens, num_model_tokens: names.id_of.len(), splitting: *splitting })
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
        Ok(Self { byte_ids, merges, tokens, num_model_tokens, splitting: Splitting::Gpt2 })
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

    /// Whether some text is encoded to this id, special tokens being text: it is a byte, or made by a merge.
    #[must_use]
    pub fn is_reachable(&self, id: u32) -> bool {
        self.byte_ids.contains(&id) || self.merges.iter().any(|merge| merge.merged == id)
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

/// All tokens by id. Added tokens get their ids as `tokenizers` gives them when it loads the file, whatever
/// id the file claims: that of the vocabulary, else the next free one.
fn token_table(names: &Names<'_>, added_tokens: &[AddedToken]) -> Result<TokenTable> {
    let vocab_size = u32::try_from(names.id_of.len()).unwrap_or(u32::MAX);
    let mut tokens = TokenTable::default();
    for (name, id) in names.names.iter().zip(0..) {
        if let Some(name) = name {
            tokens.insert_spelled(id, name);
        }
    }
    let mut added: FxHashMap<&str, u32> = FxHashMap::default();
    let mut max_added: Option<u32> = None;
    for token in added_tokens.iter().filter(|token| !token.content.is_empty()) {
        let content = token.content.as_str();
        let known = names.id_of.get(content).or_else(|| added.get(content)).copied();
        let id = known.unwrap_or_else(|| match max_added {
            Some(max) if max >= vocab_size => max.saturating_add(1),
            _ => vocab_size,
        });
        check_id(id)?;
        if known.is_none() {
            if tokens.get(id).is_some() {
                return Err(unsupported(format!(
                    "the added token {content:?} gets the id {id}, which another token has"
                )));
            }
            tokens.insert_spelled(id, content);
        }
        added.insert(content, id);
        max_added = Some(max_added.map_or(id, |max| max.max(id)));
    }
    Ok(tokens)
}

#[cfg(test)]
pub(crate) mod tests;
