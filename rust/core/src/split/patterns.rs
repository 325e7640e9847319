//! The text of the regexes that are known, and where a `tokenizer.json` holds them.
//!
//! `tokenizers` reads them with Oniguruma. What tiktoken writes today looks the same at first sight, but `\p{N}{1,3}+` is
//! possessive there, while Oniguruma takes it for a repeated group, which is all numbers in a row. Exactness is against
//! `tokenizers`, so that is what it means here.

use serde_json::Value;

use super::Splitting;
use super::cl100k::Cl100k;
use super::digits::Digits;
use crate::error::{Result, invalid, unsupported};

const CL100K: Splitting = Splitting::Cl100k(Cl100k { digits: Digits::Three, final_white_space_whole: false });
const CL100K_OF_TIKTOKEN: Splitting =
    Splitting::Cl100k(Cl100k { digits: Digits::All, final_white_space_whole: true });
const QWEN2: Splitting = Splitting::Cl100k(Cl100k { digits: Digits::One, final_white_space_whole: false });

/// Name, regex and meaning. Of one meaning, the first one is that of published files.
pub(super) const KNOWN: &[(&str, &str, Splitting)] = &[
    ("GPT-2", r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", Splitting::Gpt2),
    ("GPT-2", r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", Splitting::Gpt2),
    // tiktoken's r50k_base. White space up to the end is one piece by the other alternatives, too.
    (
        "GPT-2",
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
        Splitting::Gpt2,
    ),
    // GPT-4 and Llama 3.
    (
        "cl100k",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        CL100K,
    ),
    (
        "cl100k",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        CL100K,
    ),
    (
        "cl100k (as tiktoken writes it)",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
        CL100K_OF_TIKTOKEN,
    ),
    // Qwen 2, 2.5 and 3.
    (
        "Qwen 2",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        QWEN2,
    ),
    // GPT-4o, Llama 4, gpt-oss; tiktoken writes it just so.
    (
        "o200k",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Splitting::O200k,
    ),
    ("code", r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+(?:[\r\n]\s*)?|\s+", Splitting::Code),
];

impl Splitting {
    /// All that are known, each once.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (_, _, splitting) in KNOWN {
            if !all.contains(splitting) {
                all.push(*splitting);
            }
        }
        all
    }

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        KNOWN.iter().find(|known| known.2 == self).map_or("", |known| known.0)
    }

    /// Its regex, as published files have it.
    #[must_use]
    pub fn regex(self) -> &'static str {
        KNOWN.iter().find(|known| known.2 == self).map_or("", |known| known.1)
    }

    /// That of this regex, if it is known.
    #[must_use]
    pub fn from_regex(regex: &str) -> Option<Self> {
        KNOWN.iter().find(|known| known.1 == regex).map(|known| known.2)
    }

    /// What the `pre_tokenizer` of a `tokenizer.json` means, from JSON text, where it does nothing but cut texts by a
    /// pattern.
    ///
    /// # Errors
    ///
    /// `UnsupportedTokenizer` where it is something else.
    pub fn from_pre_tokenizer_json(pre_tokenizer: &str) -> Result<Self> {
        let value = serde_json::from_str(pre_tokenizer)
            .map_err(|error| invalid(format!("pre_tokenizer: {error}")))?;
        match PreTokenizer::from_json(&value)? {
            PreTokenizer { adds_prefix_space: true, .. } => {
                Err(uncovered("ByteLevel with add_prefix_space=true"))
            }
            PreTokenizer { splitting: Self::Whole, .. } => Err(uncovered("ByteLevel with use_regex=false")),
            PreTokenizer { splitting, .. } => Ok(splitting),
        }
    }
}

/// What a `pre_tokenizer` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PreTokenizer {
    pub(crate) splitting: Splitting,
    /// A text that does not start with a blank gets one.
    pub(crate) adds_prefix_space: bool,
}

impl PreTokenizer {
    /// What the `pre_tokenizer` of a `tokenizer.json` means; null is none.
    ///
    /// # Errors
    ///
    /// `UnsupportedTokenizer` where it is something that is not known.
    pub(crate) fn from_json(pre_tokenizer: &Value) -> Result<Self> {
        let parts = match kind_of(pre_tokenizer) {
            "Sequence" => {
                pre_tokenizer.get("pretokenizers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
            }
            _ => std::slice::from_ref(pre_tokenizer),
        };
        // The defaults of `tokenizers` for what a file leaves out.
        let flag = |value: &Value, name: &str| value.get(name).is_none_or(|flag| flag == &Value::Bool(true));
        match parts {
            [byte_level] if kind_of(byte_level) == "ByteLevel" => {
                let splitting =
                    if flag(byte_level, "use_regex") { Splitting::Gpt2 } else { Splitting::Whole };
                Ok(Self { splitting, adds_prefix_space: flag(byte_level, "add_prefix_space") })
            }
            [split, byte_level] if kind_of(split) == "Split" && kind_of(byte_level) == "ByteLevel" => {
                // A blank in front of every piece that has none: no published tokenizer does that.
                if flag(byte_level, "add_prefix_space") {
                    return Err(uncovered("Split and ByteLevel with add_prefix_space=true"));
                }
                if flag(byte_level, "use_regex") {
                    return Err(uncovered("Split and ByteLevel with use_regex=true"));
                }
                let regex =
                    split.get("pattern").and_then(|pattern| pattern.get("Regex")).and_then(Value::as_str);
                let Some(splitting) = regex.and_then(Splitting::from_regex) else {
                    return Err(uncovered("Split with a pattern that is not known"));
                };
                // Its matches tile the text: kept apart, or the only thing that is kept, they are the same.
                let invert = split.get("invert") == Some(&Value::Bool(true));
                match split.get("behavior").and_then(Value::as_str) {
                    Some("Isolated") => {}
                    Some("Removed") if invert => {}
                    behavior => {
                        return Err(uncovered(&format!(
                            "Split with behavior={} and invert={invert}",
                            behavior.unwrap_or("?")
                        )));
                    }
                }
                Ok(Self { splitting, adds_prefix_space: false })
            }
            [value] if value.is_null() => Err(uncovered("missing")),
            [value] => Err(uncovered(kind_of(value))),
            [] => Err(uncovered("an empty Sequence")),
            _ => {
                let kinds: Vec<&str> = parts.iter().map(kind_of).collect();
                Err(uncovered(&format!("a Sequence of {}", kinds.join(", "))))
            }
        }
    }
}

fn uncovered(found: &str) -> crate::error::Error {
    unsupported(format!(
        "its pre_tokenizer is {found} (covered: ByteLevel, and a Split by one of the known patterns before \
         ByteLevel with use_regex=false and add_prefix_space=false)"
    ))
}

fn kind_of(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or("of no known type")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn split(regex: &str, behavior: &str, invert: bool) -> Value {
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]})
    }

    #[test]
    fn every_known_regex_is_found_where_files_have_it() {
        for (_, regex, splitting) in KNOWN {
            for pre_tokenizer in [split(regex, "Isolated", false), split(regex, "Removed", true)] {
                let expected = PreTokenizer { splitting: *splitting, adds_prefix_space: false };
                assert_eq!(PreTokenizer::from_json(&pre_tokenizer), Ok(expected));
            }
        }
        let names: Vec<&str> = Splitting::all().into_iter().map(Splitting::name).collect();
        assert_eq!(names, ["GPT-2", "cl100k", "cl100k (as tiktoken writes it)", "Qwen 2", "o200k", "code"]);
    }

    #[test]
    fn anything_else_is_named() {
        let byte_level = |add_prefix_space: bool, use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": add_prefix_space, "use_regex": use_regex});
        let gpt2 = KNOWN[0].1;
        for (pre_tokenizer, reason) in [
            (Value::Null, "its pre_tokenizer is missing"),
            (json!({"type": "Whitespace"}), "its pre_tokenizer is Whitespace"),
            (split(r"\s+", "Isolated", false), "a pattern that is not known"),
            (split(gpt2, "Removed", false), "behavior=Removed and invert=false"),
            (split(gpt2, "MergedWithNext", false), "behavior=MergedWithNext"),
            (
                json!({"type": "Sequence", "pretokenizers": [{"type": "Digits"}, byte_level(false, true)]}),
                "a Sequence of Digits, ByteLevel",
            ),
            (
                json!({"type": "Sequence", "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": gpt2}, "behavior": "Isolated", "invert": false},
                    byte_level(false, true)]}),
                "use_regex=true",
            ),
        ] {
            let error = PreTokenizer::from_json(&pre_tokenizer).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn byte_level_alone_may_do_more_than_cut() {
        for (pre_tokenizer, splitting, adds_prefix_space, reason) in [
            (json!({"type": "ByteLevel"}), Splitting::Gpt2, true, "add_prefix_space=true"),
            (
                json!({"type": "ByteLevel", "use_regex": false}),
                Splitting::Whole,
                true,
                "add_prefix_space=true",
            ),
            (
                json!({"type": "ByteLevel", "use_regex": false, "add_prefix_space": false}),
                Splitting::Whole,
                false,
                "use_regex=false",
            ),
        ] {
            let expected = PreTokenizer { splitting, adds_prefix_space };
            assert_eq!(PreTokenizer::from_json(&pre_tokenizer), Ok(expected));
            let error =
                Splitting::from_pre_tokenizer_json(&pre_tokenizer.to_string()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
