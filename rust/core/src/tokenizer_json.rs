//! The parts of a `tokenizer.json` that decide ids, and the rule of what this engine covers.
//!
//! Truncation, padding and the decoder are not looked at: they do not change what `encode` means here.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result, invalid, unsupported};
use crate::split::Splitting;
use crate::split::patterns::PreTokenizer;

/// A JSON object whose values are not parsed yet: a vocabulary takes most of the time, and is read once.
#[derive(Debug, Default)]
pub(crate) struct RawObject<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'a> RawObject<'a> {
    /// The value of a key, `None` for null and where there is none. Of a key that stands twice the last one counts.
    fn get(&self, key: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().rfind(|(known, _)| known.0 == key)?;
        Some(*value).filter(|value| value.get() != "null")
    }

    fn read<T: Deserialize<'a>>(&self, key: &str) -> Result<Option<T>> {
        let value = self.get(key).map(|value| serde_json::from_str(value.get()));
        value.transpose().map_err(|error| invalid(format!("{key}: {error}")))
    }

    /// As JSON text, with `replace` in the place of some values and without some.
    fn write(&self, json: &mut String, replace: impl Fn(&str) -> Option<String>, leave_out: &[&str]) {
        json.push('{');
        let kept = self.0.iter().filter(|(key, _)| !leave_out.contains(&key.0.as_ref()));
        for (number, (key, value)) in kept.enumerate() {
            if number > 0 {
                json.push(',');
            }
            json.push_str(&Value::from(key.0.as_ref()).to_string());
            json.push(':');
            json.push_str(replace(&key.0).as_deref().unwrap_or(value.get()));
        }
        json.push('}');
    }
}

/// A parsed file, but for its values.
#[derive(Debug)]
pub(crate) struct TokenizerFile<'a> {
    top: RawObject<'a>,
    model: RawObject<'a>,
}

#[derive(Deserialize, PartialEq, Eq)]
pub(crate) struct AddedToken {
    pub(crate) content: String,
    #[serde(default)]
    pub(crate) special: bool,
    // `tokenizers` refuses a file that lacks one of these. Of a special token they do not matter here.
    pub(crate) single_word: Option<bool>,
    pub(crate) lstrip: Option<bool>,
    pub(crate) rstrip: Option<bool>,
    pub(crate) normalized: Option<bool>,
}

/// All that decides ids.
pub(crate) struct CoveredFile<'a> {
    pub(crate) vocab: VocabEntries<'a>,
    pub(crate) merges: Merges<'a>,
    pub(crate) ignore_merges: bool,
    pub(crate) pre_tokenizer: PreTokenizer,
    pub(crate) normalizes: bool,
    pub(crate) added_tokens: Vec<AddedToken>,
}

impl<'a> TokenizerFile<'a> {
    pub(crate) fn parse(json: &'a str) -> Result<Self> {
        let top: RawObject<'a> = serde_json::from_str(json).map_err(|error| invalid(format!("{error}")))?;
        let model = top.read("model")?.ok_or_else(|| invalid("missing field `model`"))?;
        Ok(Self { top, model })
    }

    /// The file without its vocabulary and its merges.
    pub(crate) fn head(&self) -> String {
        let mut model = String::new();
        self.model.write(&mut model, |_| None, &["vocab", "merges"]);
        let mut head = String::new();
        self.top.write(&mut head, |key| (key == "model").then(|| model.clone()), &[]);
        head
    }

    /// The parts that decide ids, once everything else is known not to change them.
    pub(crate) fn covered(&self) -> Result<CoveredFile<'a>> {
        let model = &self.model;
        if let Some(version) = self.top.read::<Value>("version")?.filter(|version| version != "1.0") {
            return Err(unsupported(format!("its version is {version} (only \"1.0\" is covered)")));
        }
        // Old files leave the type of a BPE model out; its merges tell.
        match model.read::<Cow<'_, str>>("type")?.as_deref() {
            Some("BPE") => {}
            None if model.get("merges").is_some() => {}
            Some(kind) => return Err(unsupported(format!("its model is {kind} (only BPE is covered)"))),
            None => return Err(unsupported("its model has no type (only BPE is covered)")),
        }
        let missing = |key: &str| invalid(format!("model: missing field `{key}`"));
        let vocab: VocabEntries<'a> = model.read("vocab")?.ok_or_else(|| missing("vocab"))?;
        let merges: Merges<'a> = model.read("merges")?.ok_or_else(|| missing("merges"))?;
        let ignore_merges = check_model(model)?;
        let normalizes = match self.top.read::<Value>("normalizer")? {
            Some(normalizer) => check_normalizer(&normalizer)?,
            None => false,
        };
        let pre_tokenizer = PreTokenizer::from_json(&self.top.read("pre_tokenizer")?.unwrap_or(Value::Null))?;
        if ignore_merges && pre_tokenizer.splitting == Splitting::Whole {
            return Err(unsupported("its model has ignore_merges, and its texts are not cut"));
        }
        if let Some(processor) = self.top.read::<Value>("post_processor")? {
            check_post_processor(&processor)?;
        }
        let added_tokens: Vec<AddedToken> = self.top.read("added_tokens")?.unwrap_or_default();
        Ok(CoveredFile { vocab, merges, ignore_merges, pre_tokenizer, normalizes, added_tokens })
    }
}

/// Whether the model takes a piece that is a token as a whole, before it merges anything.
fn check_model(model: &RawObject<'_>) -> Result<bool> {
    // Not a matter of coverage: ids drawn by lot have no meaning for packing, on any road.
    if let Some(dropout) = model.read::<f64>("dropout")?.filter(|dropout| *dropout != 0.0) {
        return Err(invalid(format!(
            "its model has dropout {dropout} (expected none: ids would be drawn by lot)"
        )));
    }
    if model.read("byte_fallback")? == Some(true) {
        return Err(unsupported("its model has byte_fallback"));
    }
    for affix in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model.read::<Cow<'_, str>>(affix)?.is_some_and(|affix| !affix.is_empty()) {
            return Err(unsupported(format!("its model has {} {affix}", article(affix))));
        }
    }
    Ok(model.read("ignore_merges")?.unwrap_or(false))
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with('e') { "an" } else { "a" }
}

/// Whether it is NFC; one that does nothing is none.
fn check_normalizer(value: &Value) -> Result<bool> {
    match kind_of(value) {
        "NFC" => Ok(true),
        "Sequence" => {
            let parts = value.get("normalizers").and_then(Value::as_array);
            let parts =
                parts.ok_or_else(|| unsupported("it has a normalizer (Sequence without its list)"))?;
            parts.iter().try_fold(false, |normalizes, part| Ok(check_normalizer(part)? || normalizes))
        }
        other => Err(unsupported(format!("it has a normalizer ({other}; only NFC is covered)"))),
    }
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

fn kind_of(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or("of no known type")
}

/// A string that lies in the file as it is, or, with escapes in it, a copy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> std::result::Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// Tokens and their ids, in the order of the file.
pub(crate) struct VocabEntries<'a>(pub(crate) Vec<(Text<'a>, u32)>);

impl<'de: 'a, 'a> Deserialize<'de> for VocabEntries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        entries(deserializer).map(Self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        entries(deserializer).map(Self)
    }
}

/// Keys and values of an object, in order.
fn entries<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<(Text<'de>, V)>, D::Error> {
    struct Entries<V>(std::marker::PhantomData<V>);
    impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
        type Value = Vec<(Text<'de>, V)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> std::result::Result<Self::Value, M::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_map(Entries(std::marker::PhantomData))
}

/// Merges as `["a b", ...]` or as `[["a", "b"], ...]`; only the second can hold tokens with blanks.
pub(crate) struct Merges<'a>(Vec<MergeEntry<'a>>);

enum MergeEntry<'a> {
    Line(Cow<'a, str>),
    Pair(Cow<'a, str>, Cow<'a, str>),
}

impl Merges<'_> {
    /// The parts of each merge, by rank.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = Result<(&str, &str)>> {
        let is_version =
            |entry: &MergeEntry<'_>| matches!(entry, MergeEntry::Line(line) if line.starts_with("#version"));
        self.0.iter().filter(move |entry| !is_version(entry)).enumerate().map(|(rank, entry)| match entry {
            MergeEntry::Pair(left, right) => Ok((left.as_ref(), right.as_ref())),
            MergeEntry::Line(line) => match line.split_once(' ') {
                Some((left, right)) if !right.contains(' ') => Ok((left, right)),
                _ => Err(Error::InvalidTokenizer {
                    reason: format!("merge {rank} is {line:?} (expected two tokens with one blank between)"),
                }),
            },
        })
    }

    /// How many there are at most.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Merges<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for MergeEntry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(MergeVisitor)
    }
}

struct MergeVisitor;

impl<'de> Visitor<'de> for MergeVisitor {
    type Value = MergeEntry<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a merge: \"left right\" or [\"left\", \"right\"]")
    }

    fn visit_borrowed_str<E: serde::de::Error>(
        self,
        line: &'de str,
    ) -> std::result::Result<MergeEntry<'de>, E> {
        Ok(MergeEntry::Line(Cow::Borrowed(line)))
    }

    fn visit_str<E: serde::de::Error>(self, line: &str) -> std::result::Result<MergeEntry<'de>, E> {
        Ok(MergeEntry::Line(Cow::Owned(line.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> std::result::Result<MergeEntry<'de>, A::Error> {
        let mut next =
            |place| pair.next_element::<Text<'de>>()?.ok_or_else(|| A::Error::invalid_length(place, &self));
        let entry = MergeEntry::Pair(next(0)?.0, next(1)?.0);
        match pair.next_element::<serde::de::IgnoredAny>()? {
            None => Ok(entry),
            Some(_) => Err(A::Error::invalid_length(3, &self)),
        }
    }
}
