//! The parts of a `tokenizer.json` that decide ids, and the rule of what this engine covers.
//!
//! Truncation, padding and the decoder are not looked at: they do not change what `encode` means here.

use std::fmt;

use rustc_hash::FxHashMap;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result, invalid, unsupported};
use crate::split::Splitting;

#[derive(Deserialize)]
pub(crate) struct TokenizerJson<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    #[serde(default)]
    pub(crate) added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
pub(crate) struct AddedToken {
    pub(crate) content: String,
    #[serde(default)]
    special: bool,
}

/// Old files leave the type of a BPE model out; its merges tell.
#[derive(Deserialize)]
struct ModelHead {
    #[serde(rename = "type")]
    kind: Option<String>,
    merges: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
pub(crate) struct BpeModel {
    dropout: Option<f64>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    pub(crate) vocab: FxHashMap<String, u32>,
    pub(crate) merges: Merges,
}

/// The model and how texts are cut for it, once everything else is known not to change ids.
pub(crate) fn covered_model(file: &TokenizerJson<'_>) -> Result<(BpeModel, Splitting)> {
    let unreadable = |error: serde_json::Error| invalid(format!("model: {error}"));
    let head: ModelHead = serde_json::from_str(file.model.get()).map_err(unreadable)?;
    match head.kind.as_deref() {
        Some("BPE") => {}
        None if head.merges.is_some() => {}
        Some(kind) => return Err(unsupported(format!("its model is {kind} (only BPE is covered)"))),
        None => return Err(unsupported("its model has no type (only BPE is covered)")),
    }
    let model: BpeModel = serde_json::from_str(file.model.get()).map_err(unreadable)?;
    check_model(&model)?;
    if let Some(normalizer) = present(file.normalizer.as_ref()) {
        return Err(unsupported(format!("it has a normalizer ({}; none is covered)", kind_of(normalizer))));
    }
    let splitting = Splitting::from_pre_tokenizer(file.pre_tokenizer.as_ref().unwrap_or(&Value::Null))?;
    if let Some(processor) = present(file.post_processor.as_ref()) {
        check_post_processor(processor)?;
    }
    // Special tokens are ordinary text here, but the others still match in the text.
    if let Some(token) = file.added_tokens.iter().find(|token| !token.special && !token.content.is_empty()) {
        return Err(unsupported(format!("it has the added token {:?}, which is not special", token.content)));
    }
    Ok((model, splitting))
}

fn check_model(model: &BpeModel) -> Result<()> {
    // Not a matter of coverage: ids drawn by lot have no meaning for packing, on any road.
    if let Some(dropout) = model.dropout.filter(|dropout| *dropout != 0.0) {
        return Err(invalid(format!(
            "its model has dropout {dropout} (expected none: ids would be drawn by lot)"
        )));
    }
    let affix = |affix: &Option<String>| affix.as_ref().is_some_and(|affix| !affix.is_empty());
    let reason = if model.byte_fallback {
        "its model has byte_fallback"
    } else if model.ignore_merges {
        "its model has ignore_merges"
    } else if affix(&model.continuing_subword_prefix) {
        "its model has a continuing_subword_prefix"
    } else if affix(&model.end_of_word_suffix) {
        "its model has an end_of_word_suffix"
    } else {
        return Ok(());
    };
    Err(unsupported(reason))
}

/// With `add_special_tokens=False` most processors leave ids alone; a template may repeat or drop the text.
fn check_post_processor(value: &Value) -> Result<()> {
    match kind_of(value) {
        "ByteLevel" | "RobertaProcessing" | "BertProcessing" => Ok(()),
        "Sequence" => match value.get("processors").and_then(Value::as_array) {
            Some(processors) => processors.iter().try_for_each(check_post_processor),
            None => Err(invalid("post_processor: a Sequence without its list of processors")),
        },
        "TemplateProcessing" => {
            let template = value.get("single").and_then(Value::as_array);
            let sequences: Vec<&Value> =
                template.into_iter().flatten().filter_map(|piece| piece.get("Sequence")).collect();
            match sequences[..] {
                [sequence] if sequence.get("id").and_then(Value::as_str) == Some("A") => Ok(()),
                _ => {
                    Err(unsupported("its post_processor is a template that does not hold the text just once"))
                }
            }
        }
        other => Err(unsupported(format!("its post_processor is {other}"))),
    }
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

fn kind_of(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or("of no known type")
}

/// Merges as `["a b", ...]` or as `[["a", "b"], ...]`; only the second can hold tokens with blanks.
pub(crate) struct Merges(Vec<MergeEntry>);

enum MergeEntry {
    Line(String),
    Pair(String, String),
}

impl Merges {
    pub(crate) fn into_pairs(self) -> Result<Vec<(String, String)>> {
        self.0
            .into_iter()
            .filter(|entry| !matches!(entry, MergeEntry::Line(line) if line.starts_with("#version")))
            .enumerate()
            .map(|(rank, entry)| match entry {
                MergeEntry::Pair(left, right) => Ok((left, right)),
                MergeEntry::Line(line) => match line.split(' ').collect::<Vec<_>>()[..] {
                    [left, right] => Ok((left.to_owned(), right.to_owned())),
                    _ => Err(Error::InvalidTokenizer {
                        reason: format!(
                            "merge {rank} is {line:?} (expected two tokens with one blank between)"
                        ),
                    }),
                },
            })
            .collect()
    }
}

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for MergeEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(MergeVisitor)
    }
}

struct MergeVisitor;

impl<'de> Visitor<'de> for MergeVisitor {
    type Value = MergeEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a merge: \"left right\" or [\"left\", \"right\"]")
    }

    fn visit_str<E: serde::de::Error>(self, line: &str) -> std::result::Result<MergeEntry, E> {
        Ok(MergeEntry::Line(line.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> std::result::Result<MergeEntry, A::Error> {
        let mut next =
            |place| pair.next_element::<String>()?.ok_or_else(|| A::Error::invalid_length(place, &self));
        let entry = MergeEntry::Pair(next(0)?, next(1)?);
        match pair.next_element::<serde::de::IgnoredAny>()? {
            None => Ok(entry),
            Some(_) => Err(A::Error::invalid_length(3, &self)),
        }
    }
}
