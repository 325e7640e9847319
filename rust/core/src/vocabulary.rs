//! Read a `tokenizer.json` into ids, bytes, merges and the way of splitting, and decide whether this engine covers it.
//!
//! Covered is byte-level BPE with one of the patterns of `split::patterns` and nothing around it that changes ids. Everything else is
//! `UnsupportedTokenizer` with a reason, never an approximation; what cannot be read at all is
//! `InvalidTokenizer`.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::byte_alphabet::{byte_characters, token_bytes};
use crate::error::{Error, Result, invalid, unsupported};
use crate::split::Splitting;
use crate::tokenizer_json::{self, AddedToken, BpeModel, TokenizerJson};

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
    tokens: Vec<Option<Box<[u8]>>>,
    splitting: Splitting,
}

impl Vocabulary {
    /// Parse a `tokenizer.json`.
    pub fn from_json(json: &str) -> Result<Self> {
        let file: TokenizerJson<'_> =
            serde_json::from_str(json).map_err(|error| invalid(format!("{error}")))?;
        let (model, splitting) = tokenizer_json::covered_model(&file)?;
        Self::from_model(model, splitting, &file.added_tokens)
    }

    fn from_model(model: BpeModel, splitting: Splitting, added_tokens: &[AddedToken]) -> Result<Self> {
        let BpeModel { vocab, merges, .. } = model;
        refuse_shared_ids(&vocab)?;
        let byte_ids = byte_ids(&vocab)?;
        let merges = merges
            .into_pairs()?
            .into_iter()
            .map(|(left, right)| {
                let id = |token: &str| {
                    vocab.get(token).copied().ok_or_else(|| {
                        invalid(format!(
                            "merge {left:?} {right:?} needs the token {token:?} (expected: in the vocabulary)"
                        ))
                    })
                };
                let merged = format!("{left}{right}");
                Ok(Merge { left: id(&left)?, right: id(&right)?, merged: id(&merged)? })
            })
            .collect::<Result<Vec<_>>>()?;
        let tokens = token_table(&vocab, added_tokens)?;
        Ok(Self { byte_ids, merges, tokens, splitting })
    }

    /// A vocabulary of the 256 bytes (byte b has id b) and the given merges (merge k makes id 256 + k): for
    /// tests and benches.
    ///
    /// # Errors
    ///
    /// `InvalidTokenizer` where a merge uses an id that does not exist before it.
    pub fn from_merges(pairs: &[(u32, u32)]) -> Result<Self> {
        let mut tokens: Vec<Option<Box<[u8]>>> = (0..=u8::MAX).map(|byte| Some(Box::from([byte]))).collect();
        let mut merges = Vec::with_capacity(pairs.len());
        for (&(left, right), merged) in pairs.iter().zip(256..) {
            let bytes = |id: u32| match tokens.get(id as usize) {
                Some(Some(bytes)) => Ok(bytes),
                _ => Err(invalid(format!("merge {merged} uses id {id} (expected one made before it)"))),
            };
            let joined = [bytes(left)?.as_ref(), bytes(right)?].concat();
            tokens.push(Some(joined.into_boxed_slice()));
            merges.push(Merge { left, right, merged });
        }
        let byte_ids = std::array::from_fn(|byte| u32::try_from(byte).unwrap_or(0));
        Ok(Self { byte_ids, merges, tokens, splitting: Splitting::Gpt2 })
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
        self.tokens.get(id as usize)?.as_deref()
    }

    /// The largest id, added tokens included.
    #[must_use]
    pub fn max_token_id(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX).saturating_sub(1)
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

fn refuse_shared_ids(vocab: &FxHashMap<String, u32>) -> Result<()> {
    let mut seen = FxHashSet::default();
    match vocab.values().find(|&&id| !seen.insert(id)) {
        Some(id) => Err(unsupported(format!("two tokens of the vocabulary share the id {id}"))),
        None => Ok(()),
    }
}

fn byte_ids(vocab: &FxHashMap<String, u32>) -> Result<[u32; 256]> {
    let mut ids = [0; 256];
    for (byte, character) in byte_characters().into_iter().enumerate() {
        let mut buffer = [0; 4];
        let token: &str = character.encode_utf8(&mut buffer);
        ids[byte] = *vocab.get(token).ok_or_else(|| {
            unsupported(format!("the vocabulary lacks {token:?}, the token of the byte 0x{byte:02x}"))
        })?;
    }
    Ok(ids)
}

/// All tokens by id. Added tokens get their ids as `tokenizers` gives them when it loads the file, whatever
/// id the file claims: that of the vocabulary, else the next free one.
fn token_table(
    vocab: &FxHashMap<String, u32>,
    added_tokens: &[AddedToken],
) -> Result<Vec<Option<Box<[u8]>>>> {
    let vocab_size = u32::try_from(vocab.len()).unwrap_or(u32::MAX);
    let mut added: FxHashMap<&str, u32> = FxHashMap::default();
    let mut max_added: Option<u32> = None;
    for token in added_tokens.iter().filter(|token| !token.content.is_empty()) {
        let content = token.content.as_str();
        let known = vocab.get(content).or_else(|| added.get(content)).copied();
        let id = known.unwrap_or_else(|| match max_added {
            Some(max) if max >= vocab_size => max.saturating_add(1),
            _ => vocab_size,
        });
        added.insert(content, id);
        max_added = Some(max_added.map_or(id, |max| max.max(id)));
    }
    let max_id = vocab.values().chain(added.values()).copied().max().unwrap_or(0);
    if max_id > MAX_COVERED_ID {
        return Err(unsupported(format!(
            "the id {max_id} is larger than {MAX_COVERED_ID}, the largest this engine takes"
        )));
    }
    let byte_of: FxHashMap<char, u8> = byte_characters().into_iter().zip(0..=u8::MAX).collect();
    let byte_of = |character: char| byte_of.get(&character).copied();
    let mut tokens = vec![None; max_id as usize + 1];
    for (content, &id) in vocab
        .iter()
        .map(|(token, id)| (token.as_str(), id))
        .chain(added.iter().map(|(token, id)| (*token, id)))
    {
        tokens[id as usize] = Some(token_bytes(content, &byte_of));
    }
    Ok(tokens)
}

#[cfg(test)]
pub(crate) mod tests;
