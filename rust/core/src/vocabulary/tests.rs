use serde_json::{Value, json};

use super::*;
use crate::cancel::Cancel;
use crate::merge::{MergeScratch, MergeTable};

/// A `tokenizer.json` of the byte alphabet (its ids are the bytes), then `tokens` that it lacks, with `merges`.
pub(crate) fn tokenizer_json(tokens: &[String], merges: &[[String; 2]]) -> String {
    base(tokens, &json!(merges)).to_string()
}

fn base(tokens: &[String], merges: &Value) -> Value {
    let mut vocab = serde_json::Map::new();
    for (byte, character) in byte_characters().into_iter().enumerate() {
        vocab.insert(character.to_string(), json!(byte));
    }
    for token in tokens {
        let next = vocab.len();
        vocab.entry(token.clone()).or_insert(json!(next));
    }
    json!({
        "version": "1.0",
        "truncation": {"max_length": 5},
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel"},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges,
        },
    })
}

fn small() -> Value {
    base(&["ab".to_owned(), "abc".to_owned()], &json!([["a", "b"], ["ab", "c"]]))
}

/// The small tokenizer with the value at `pointer` replaced.
fn with(pointer: &str, value: Value) -> Value {
    let mut file = small();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    file.pointer_mut(parent).unwrap()[key] = value;
    file
}

fn load(file: &Value) -> Result<Vocabulary> {
    Vocabulary::from_json(&file.to_string())
}

fn unsupported_reason(file: &Value) -> String {
    match load(file) {
        Err(Error::UnsupportedTokenizer { reason }) => reason,
        other => panic!("expected UnsupportedTokenizer, found {other:?}"),
    }
}

fn invalid_reason(file: &Value) -> String {
    match load(file) {
        Err(Error::InvalidTokenizer { reason }) => reason,
        other => panic!("expected InvalidTokenizer, found {other:?}"),
    }
}

#[test]
fn a_small_one_is_read() {
    let vocabulary = load(&small()).unwrap();
    assert_eq!(vocabulary.max_token_id(), 257);
    assert_eq!(vocabulary.byte_ids()[usize::from(b' ')], 32);
    assert_eq!(
        vocabulary.merges(),
        [Merge { left: 97, right: 98, merged: 256 }, Merge { left: 256, right: 99, merged: 257 }]
    );
    assert_eq!(vocabulary.token_bytes(257), Some(b"abc".as_slice()));
    assert_eq!(vocabulary.token_bytes(32), Some(b" ".as_slice()));
    assert_eq!(vocabulary.token_bytes(258), None);
    assert_eq!(vocabulary.decode([257, 32, 200]), Ok(b"abc \xc8".to_vec()));
    assert_eq!(vocabulary.decode([257, 258]), Err(Error::UnknownId { id: 258, max: 257 }));
    assert_eq!(vocabulary.decode([-1]), Err(Error::UnknownId { id: -1, max: 257 }));
}

#[test]
fn merges_may_be_lines() {
    let lines = with("/model/merges", json!(["#version: 0.2", "a b", "ab c"]));
    assert_eq!(load(&lines).unwrap().merges(), load(&small()).unwrap().merges());
    for line in ["ab", "a b c", "a  b", ""] {
        let reason = invalid_reason(&with("/model/merges", json!(["a b", line])));
        assert!(reason.contains("merge 1 is") && reason.contains("one blank"), "{reason}");
    }
}

#[test]
fn only_pairs_hold_tokens_with_blanks() {
    let tokens = ["a b".to_owned(), "a bc".to_owned()];
    let vocabulary = load(&base(&tokens, &json!([["a b", "c"]]))).unwrap();
    assert_eq!(vocabulary.merges(), [Merge { left: 256, right: 99, merged: 257 }]);
}

#[test]
fn a_pair_that_stands_twice_has_its_last_rank() {
    let tokens = ["ab".to_owned(), "bc".to_owned()];
    let merges = json!([["a", "b"], ["b", "c"], ["a", "b"]]);
    let table = MergeTable::new(&load(&base(&tokens, &merges)).unwrap());
    let mut ids: Vec<u32> = Vec::new();
    table.merge_into(b"abc", &mut MergeScratch::default(), &mut ids, &Cancel::default()).unwrap();
    assert_eq!(ids, [97, 257]);
}

#[test]
fn a_merge_needs_its_tokens() {
    for merges in [json!([["a", "x y"]]), json!([["a", "c"]])] {
        let reason = invalid_reason(&with("/model/merges", merges));
        assert!(reason.contains("needs the token") && reason.contains("in the vocabulary"), "{reason}");
    }
}

#[test]
fn added_tokens_get_the_ids_that_tokenizers_gives_them() {
    let special = |content: &str, id: u32| json!({"id": id, "content": content, "special": true});
    let vocabulary = load(&with(
        "/added_tokens",
        json!([special("ab", 0), special("<e x>", 999), special("", 5), special("éx", 7)]),
    ))
    .unwrap();
    // "ab" is a token of the model; 258 is the next free id, whatever the file says.
    assert_eq!(vocabulary.max_token_id(), 259);
    assert_eq!(vocabulary.token_bytes(258), Some(b"<e x>".as_slice()));
    // Characters of the byte alphabet decode to their bytes, in an added token too.
    assert_eq!(vocabulary.token_bytes(259), Some(b"\xe9x".as_slice()));
}

#[test]
fn the_head_is_the_file_without_vocabulary_and_merges() {
    let mut expected = small();
    let (vocabulary, head) = Vocabulary::from_json_with_head(&expected.to_string()).unwrap();
    let model = expected["model"].as_object_mut().unwrap();
    for key in ["vocab", "merges"] {
        model.remove(key);
    }
    assert_eq!(serde_json::from_str::<Value>(&head).unwrap(), expected);
    assert_eq!((vocabulary.num_model_tokens(), vocabulary.num_tokens()), (258, 258));
    assert!(vocabulary.is_reachable(257) && vocabulary.is_reachable(0) && !vocabulary.is_reachable(258));
    assert_eq!((vocabulary.token_id("abc"), vocabulary.token(32).as_deref()), (Some(257), Some("Ġ")));
}

#[test]
fn escapes_in_tokens_are_read() {
    let text = small().to_string().replace("\"ab\"", "\"\\u0061b\"");
    assert_eq!(Vocabulary::from_json(&text).unwrap().merges(), load(&small()).unwrap().merges());
    let twice = small().to_string().replace("\"abc\":257", "\"abc\":257,\"\\u0061bc\":300");
    assert!(matches!(Vocabulary::from_json(&twice), Err(Error::UnsupportedTokenizer { .. })), "{twice}");
}

#[test]
fn what_is_not_covered_says_why() {
    let template = |single: Value| json!({"type": "TemplateProcessing", "single": single, "pair": []});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let cases = [
        ("/model", json!({"type": "Unigram", "vocab": []}), "its model is Unigram"),
        ("/model", json!({"vocab": {}}), "no type"),
        ("/model/byte_fallback", json!(true), "byte_fallback"),
        ("/model/continuing_subword_prefix", json!("##"), "continuing_subword_prefix"),
        ("/model/end_of_word_suffix", json!("</w>"), "end_of_word_suffix"),
        ("/model/vocab/Ġ", json!(4), "share the id 4"),
        ("/model/vocab/abcd", json!(1 << 24), "larger than"),
        ("/normalizer", json!({"type": "NFKC"}), "normalizer (NFKC; only NFC is covered"),
        (
            "/normalizer",
            json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}),
            "normalizer (Lowercase",
        ),
        ("/pre_tokenizer", Value::Null, "pre_tokenizer is missing"),
        ("/pre_tokenizer", json!({"type": "Whitespace"}), "pre_tokenizer is Whitespace"),
        (
            "/pre_tokenizer",
            json!({"type": "Sequence", "pretokenizers": []}),
            "pre_tokenizer is an empty Sequence",
        ),
        ("/post_processor", json!({"type": "Unheard"}), "post_processor is Unheard"),
        ("/post_processor", json!(3), "post_processor is of no known type"),
        ("/post_processor", template(json!([text, text])), "just once"),
        ("/post_processor", template(json!([{"Sequence": {"id": "B", "type_id": 0}}])), "just once"),
        (
            "/post_processor",
            json!({"type": "Sequence", "processors": [{"type": "ByteLevel"}, template(json!([]))]}),
            "just once",
        ),
        (
            "/added_tokens",
            json!([{"id": 9, "content": "<x>", "special": false}]),
            "the added token \"<x>\" without single_word",
        ),
        ("/added_tokens", json!([added("<x>", &["single_word"])]), "\"<x>\" with single_word"),
        (
            "/added_tokens",
            json!([added("<x>", &["rstrip"]), added("\n", &["lstrip"])]),
            "\"\\n\" with lstrip, which begins with white space, beside \"<x>\" with rstrip",
        ),
        ("/version", json!("2.0"), "its version is \"2.0\""),
        (
            "/added_tokens",
            json!([added("<x>", &[]), added("<x>", &["lstrip"])]),
            "\"<x>\" twice, differently",
        ),
    ];
    for (pointer, value, part) in cases {
        let reason = unsupported_reason(&with(pointer, value));
        assert!(reason.contains(part), "{pointer}: {reason}");
    }
    let mut file = with("/model/vocab/abcd", json!(259));
    file["added_tokens"] = json!([{"content": "<x>", "special": true}]);
    let reason = unsupported_reason(&file);
    assert!(reason.contains("\"<x>\" gets the id 259, which another token has"), "{reason}");
    let mut file = small();
    file["model"]["vocab"].as_object_mut().unwrap().remove("Ċ");
    let reason = unsupported_reason(&file);
    assert!(reason.contains("lacks \"Ċ\", the token of the byte 0x0a"), "{reason}");
}

/// An added token that is not special, with some flags set.
fn added(content: &str, flags: &[&str]) -> Value {
    let mut token = json!({"id": 0, "content": content, "special": false});
    for name in ["single_word", "lstrip", "rstrip", "normalized"] {
        token[name] = json!(flags.contains(&name));
    }
    token
}

#[test]
fn what_is_done_around_cutting_and_merging_is_read() {
    let mut file = small();
    file["normalizer"] = json!({"type": "Sequence", "normalizers": [{"type": "NFC"}]});
    file["pre_tokenizer"]["add_prefix_space"] = json!(true);
    file["model"]["ignore_merges"] = json!(true);
    file["added_tokens"] = json!([added("<x>", &[]), added("abc", &["normalized"])]);
    let vocabulary = load(&file).unwrap();
    let extras = ["NFC", "add_prefix_space", "ignore_merges", "2 added tokens that are not special"];
    assert_eq!(vocabulary.extras(), extras);
    assert!(vocabulary.is_reachable(258) && !vocabulary.tiles_texts());
    let plain = load(&small()).unwrap();
    assert!(plain.extras().is_empty() && plain.tiles_texts() && !plain.is_reachable(258));
    for (token, tiles) in [
        (added("<x>", &[]), true),
        (added("<x>", &["lstrip"]), false),
        (added("<x>", &["rstrip"]), false),
        // It matches two bytes, and decodes to one.
        (added("é", &[]), false),
        (added("中é", &[]), true),
    ] {
        assert_eq!(load(&with("/added_tokens", json!([token]))).unwrap().tiles_texts(), tiles, "{token}");
    }
    file["added_tokens"] = json!([added("é", &["normalized"]), added("e\u{301}", &["normalized"])]);
    assert!(unsupported_reason(&file).contains("which NFC changes"));
    file["added_tokens"] = json!([]);
    file["pre_tokenizer"]["use_regex"] = json!(false);
    assert!(unsupported_reason(&file).contains("ignore_merges, and its texts are not cut"));
}

/// Ids of the fast and of the plain form, which must be the same.
fn ids(file: &Value, text: &str) -> Vec<u32> {
    let encoder = crate::encoder::Encoder::new(load(file).unwrap());
    let (mut fast, mut plain): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
    encoder.encode_into(text, &mut encoder.take_scratch(1), &mut fast, &Cancel::default()).unwrap();
    encoder.encode_plainly(text, &mut plain, &Cancel::default()).unwrap();
    assert_eq!(fast, plain);
    fast
}

#[test]
fn goldens_of_what_is_done_around() {
    let bytes = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
    let nfc = with("/normalizer", json!({"type": "NFC"}));
    assert_eq!(ids(&nfc, "e\u{301}x"), bytes("éx"));
    let prefix = with("/pre_tokenizer/add_prefix_space", json!(true));
    assert_eq!(ids(&prefix, "abc"), [32, 257]);
    assert_eq!(ids(&prefix, " abc"), [32, 257]);
    assert_eq!(ids(&prefix, ""), [0; 0]);
    let whole = with("/pre_tokenizer/use_regex", json!(false));
    assert_eq!(ids(&whole, "ab abc1"), [256, 32, 257, 49]);
    let added_tokens = json!([
        added("<x>", &["lstrip"]),
        added("<xy>", &[]),
        {"id": 0, "content": "<s>x", "special": true, "single_word": false, "lstrip": true, "rstrip": true, "normalized": false},
        added(">x", &[]),
    ]);
    let matching = with("/added_tokens", added_tokens);
    assert_eq!(ids(&matching, "ab  <x><xy>"), [256, 258, 259]);
    assert_eq!(
        ids(&matching, "<s>x>x"),
        [bytes("<s>x"), vec![261]].concat(),
        "inside of a special one none is found"
    );
    // "ac" is a token that no merge makes.
    let mut ignoring = base(&["ab".to_owned(), "ac".to_owned()], &json!([["a", "b"]]));
    assert_eq!(ids(&ignoring, "ac ab"), [97, 99, 32, 256]);
    ignoring["model"]["ignore_merges"] = json!(true);
    assert_eq!(ids(&ignoring, "ac ab acb"), [257, 32, 256, 32, 97, 99, 98]);
}

#[test]
fn what_changes_no_ids_is_covered() {
    let template = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    });
    for (pointer, value) in [
        ("/post_processor", json!({"type": "ByteLevel", "trim_offsets": false})),
        ("/post_processor", json!({"type": "RobertaProcessing"})),
        (
            "/post_processor",
            json!({"type": "Sequence", "processors": [{"type": "BertProcessing"}, template]}),
        ),
        ("/model/continuing_subword_prefix", json!("")),
        ("/model/dropout", json!(0.0)),
        ("/model/unk_token", json!("<unk>")),
        ("/decoder", Value::Null),
        ("/pre_tokenizer", json!({"type": "ByteLevel", "add_prefix_space": false})),
    ] {
        load(&with(pointer, value)).unwrap();
    }
    let mut old = small();
    old["model"].as_object_mut().unwrap().remove("type");
    load(&old).unwrap();
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let reason = invalid_reason(&with("/model/dropout", json!(0.1)));
    assert!(reason.contains("dropout 0.1"), "{reason}");
    for (pointer, value) in [
        ("/model/vocab", json!(["a"])),
        ("/model/vocab/a", json!(-1)),
        ("/model/vocab/a", json!(1_u64 << 32)),
        ("/model/vocab/a", json!("x")),
        ("/model/merges", json!({"a": "b"})),
        ("/model/merges", json!([["a", "b", "c"]])),
        ("/model/merges", json!([["a"]])),
        ("/model/merges", json!([3])),
        ("/model", json!("BPE")),
        ("/added_tokens", json!([{"id": 3}])),
        ("/added_tokens", json!("x")),
        ("/post_processor", json!({"type": "Sequence"})),
    ] {
        invalid_reason(&with(pointer, value));
    }
    for json in ["", "{", "[]", "3", "{\"model\": null}", "{}", &"[".repeat(100_000)] {
        assert!(matches!(Vocabulary::from_json(json), Err(Error::InvalidTokenizer { .. })), "{json:.20}");
    }
    let deep = format!("{{\"model\": {}{}}}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    assert!(matches!(Vocabulary::from_json(&deep), Err(Error::InvalidTokenizer { .. })));
}

#[test]
fn merges_for_tests_use_what_exists() {
    assert!(Vocabulary::from_merges(&[(97, 256)]).is_err());
    assert_eq!(
        Vocabulary::from_merges(&[(97, 98), (256, 99)]).unwrap().token_bytes(257),
        Some(b"abc".as_slice())
    );
}
