//! The added tokens of a file: their ids, and what is looked for in texts.

use rustc_hash::FxHashMap;

use super::token_table::TokenTable;
use super::{Names, check_id};
use crate::added_tokens::{AddedPattern, AddedTokens};
use crate::error::{Result, unsupported};
use crate::normalize::nfc;
use crate::preparation::Preparation;
use crate::tokenizer_json::AddedToken;

/// The tokens with their ids, each once; those that the model lacks are put into `tokens`. They get their ids as
/// `tokenizers` gives them when it loads the file, whatever id the file claims: that of the model, else the next free one.
pub(super) fn with_ids<'f>(
    names: &Names<'_>,
    added_tokens: &'f [AddedToken],
    tokens: &mut TokenTable,
) -> Result<Vec<(&'f AddedToken, u32)>> {
    let vocab_size = u32::try_from(names.id_of.len()).unwrap_or(u32::MAX);
    let mut found: Vec<(&AddedToken, u32)> = Vec::new();
    let mut places: FxHashMap<&str, usize> = FxHashMap::default();
    let mut max_added: Option<u32> = None;
    for token in added_tokens.iter().filter(|token| !token.content.is_empty()) {
        let content = token.content.as_str();
        if let Some(&place) = places.get(content) {
            if found[place].0 != token {
                return Err(unsupported(format!("it has the added token {content:?} twice, differently")));
            }
            continue;
        }
        let known = names.id_of.get(content).copied();
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
        places.insert(content, found.len());
        found.push((token, id));
        max_added = Some(max_added.map_or(id, |max| max.max(id)));
    }
    Ok(found)
}

/// What is done to texts. Where all added tokens are special, none is looked for: special tokens are ordinary text here.
pub(super) fn preparation(
    added: &[(&AddedToken, u32)],
    normalizes: bool,
    adds_prefix_space: bool,
) -> Result<Preparation> {
    let mut preparation = Preparation { normalizes, adds_prefix_space, ..Preparation::default() };
    // It matches and decodes as its normalized form; in which releases of `tokenizers`, is theirs to say.
    let changes =
        |token: &AddedToken| token.normalized != Some(false) && nfc(&token.content) != token.content;
    if let Some((token, _)) = added.iter().find(|(token, _)| normalizes && changes(token)) {
        return Err(unsupported(format!("it has the added token {:?}, which NFC changes", token.content)));
    }
    if added.iter().all(|(token, _)| token.special) {
        return Ok(preparation);
    }
    // Inside of the white space that a token took behind it, such a one is found with nothing left to match, or less.
    let strips = |token: &&(&AddedToken, u32), left: bool| {
        !token.0.special && (if left { token.0.lstrip } else { token.0.rstrip }) == Some(true)
    };
    let starts_white = |token: &&(&AddedToken, u32)| token.0.content.starts_with(char::is_whitespace);
    if let Some((left, _)) = added.iter().find(|token| strips(token, true) && starts_white(token))
        && let Some((right, _)) = added.iter().find(|token| strips(token, false))
    {
        return Err(unsupported(format!(
            "it has the added token {:?} with lstrip, which begins with white space, beside {:?} with rstrip",
            left.content, right.content
        )));
    }
    let (mut as_it_stands, mut after_normalizing) = (Vec::new(), Vec::new());
    for &(token, id) in added {
        let content = token.content.as_str();
        let AddedToken {
            special,
            single_word: Some(single_word),
            lstrip: Some(takes_left),
            rstrip: Some(takes_right),
            normalized: Some(is_normalized),
            ..
        } = *token
        else {
            return Err(unsupported(format!(
                "it has the added token {content:?} without single_word, lstrip, rstrip or normalized"
            )));
        };
        if single_word && !special {
            return Err(unsupported(format!(
                "it has the added token {content:?} with single_word, which is not special"
            )));
        }
        let patterns = if is_normalized { &mut after_normalizing } else { &mut as_it_stands };
        let text = content.to_owned();
        patterns.push(AddedPattern { id, text, special, takes_left, takes_right });
    }
    preparation.added = AddedTokens::new(as_it_stands)?;
    preparation.added_normalized = AddedTokens::new(after_normalizing)?;
    Ok(preparation)
}
