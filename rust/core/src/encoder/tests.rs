use proptest::prelude::*;

use super::*;
use crate::Error;
use crate::unicode::Class;

/// A few merges for English, so that ids are neither bytes nor whole words.
fn encoder() -> Encoder {
    let byte = u32::from;
    let pairs = [
        (byte(b't'), byte(b'h')),
        (256, byte(b'e')),
        (byte(b' '), 257),
        (byte(b' '), byte(b' ')),
        (byte(b'a'), byte(b'a')),
        (260, 260),
    ];
    Encoder::new(Vocabulary::from_merges(&pairs).unwrap())
}

fn encode(encoder: &Encoder, text: &str) -> Result<Vec<u16>> {
    let mut ids = Vec::new();
    encoder.encode_into(text, &mut encoder.take_scratch(1), &mut ids, &Cancel::default())?;
    Ok(ids)
}

#[test]
fn goldens() {
    let encoder = encoder();
    assert_eq!(encode(&encoder, "the the").unwrap(), [257, 258]);
    assert_eq!(encode(&encoder, "  aaaaa\n").unwrap(), [32, 32, 261, 97, 10], "no merge crosses a piece");
    assert_eq!(encode(&encoder, "").unwrap(), Vec::<u16>::new());
}

#[test]
fn what_unicode_14_lacks_is_asked_for_once() {
    let encoder = encoder();
    let text = "the \u{1c8a}!";
    assert_eq!(encode(&encoder, text), Err(Error::UnicodeRestNeeded { code_point: 0x1c8a }));
    let batch = encoder.encode_batch::<u16>(&["a", text], 2, &mut || false);
    assert_eq!(batch, Err(Error::UnicodeRestNeeded { code_point: 0x1c8a }));
    encoder.set_unicode_rest(&[(0x1c8a, 0x1c8a, Class::Letter)]);
    let ids = encode(&encoder, text).unwrap();
    assert_eq!(encoder.vocabulary().decode(ids.iter().map(|&id| id.into())).unwrap(), text.as_bytes());
    encoder.set_unicode_rest(&[]);
    assert_eq!(encoder.classes().of(0x1c8a), Class::Letter, "the first answer counts");
}

#[test]
fn a_batch_is_its_documents_on_any_number_of_threads() {
    let encoder = encoder();
    let long = "the  quick brown fox\n".repeat(30_000);
    let texts = ["", &long, "the", "", &long[..400_000], "  x"];
    let mut expected = Encoded { ids: Vec::<u16>::new(), offsets: vec![0] };
    for text in texts {
        expected.ids.extend(encode(&encoder, text).unwrap());
        expected.offsets.push(i64::try_from(expected.ids.len()).unwrap());
    }
    for num_threads in [0, 1, 2, 3, 64] {
        assert_eq!(encoder.encode_batch(&texts, num_threads, &mut || false), Ok(expected.clone()));
    }
    let wide = encoder.encode_batch::<u32>(&texts, 2, &mut || false).unwrap();
    assert!(wide.ids.iter().copied().eq(expected.ids.iter().map(|&id| u32::from(id))));
    assert_eq!(
        encoder.encode_batch::<u16>(&[], 2, &mut || false),
        Ok(Encoded { ids: vec![], offsets: vec![0] })
    );
}

#[test]
fn a_cancelled_call_says_so() {
    let cancel = Cancel::default();
    cancel.cancel();
    let encoder = encoder();
    let result = encoder.encode_into::<u16>("the", &mut Scratch::default(), &mut Vec::new(), &cancel);
    assert_eq!(result, Err(Error::Cancelled));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn decoding_gives_the_text_back(texts in proptest::collection::vec(crate::split::tests::text(), 0..6)) {
        let encoder = encoder();
        encoder.set_unicode_rest(&[]);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let batch = encoder.encode_batch::<u16>(&texts, 1, &mut || false).unwrap();
        for (text, bounds) in texts.iter().zip(batch.offsets.windows(2)) {
            let range = usize::try_from(bounds[0]).unwrap()..usize::try_from(bounds[1]).unwrap();
            let bytes = encoder.vocabulary().decode(batch.ids[range.clone()].iter().map(|&id| id.into())).unwrap();
            prop_assert_eq!(bytes, text.as_bytes());
            prop_assert_eq!(&batch.ids[range], encode(&encoder, text).unwrap());
        }
    }
}

#[test]
fn a_joined_batch_has_its_head_and_an_end_behind_each_document() {
    let encoder = encoder();
    let long = "the  quick brown fox\n".repeat(60_000);
    let texts = ["", &long, "the", "", &long[..400_000], "  x"];
    let mut expected = Encoded { ids: vec![7, 8], offsets: vec![2] };
    for text in texts {
        expected.ids.extend(encode(&encoder, text).unwrap());
        expected.ids.push(300);
        expected.offsets.push(i64::try_from(expected.ids.len()).unwrap());
    }
    for num_threads in [1, 2, 5] {
        let joined = encoder.encode_joined(vec![7, 8], &texts, 300, num_threads, &mut || false);
        assert_eq!(joined, Ok(expected.clone()));
    }
    let nothing = encoder.encode_joined::<u16>(vec![7], &[], 300, 2, &mut || false);
    assert_eq!(nothing, Ok(Encoded { ids: vec![7], offsets: vec![1] }));
}

#[test]
fn tables_of_all_workers_keep_to_the_bytes_that_were_set() {
    let encoder = encoder();
    let text = "the  quick brown fox\n".repeat(30_000);
    let texts = [text.as_str(); 8];
    let expected = encoder.encode_batch::<u16>(&texts, 1, &mut || false).unwrap();
    assert_eq!(encoder.cache_bytes(), DEFAULT_CACHE_BYTES);
    for cache_bytes in [DEFAULT_CACHE_BYTES, 1 << 22, 0] {
        encoder.set_cache_bytes(cache_bytes);
        for num_threads in [1, 4, 64, 2] {
            assert_eq!(encoder.encode_batch(&texts, num_threads, &mut || false), Ok(expected.clone()));
            let share = encoder.take_scratch(num_threads).cache_bytes;
            assert!(share * num_threads <= cache_bytes.max(num_threads), "{share} for each of {num_threads}");
            assert!(share <= MAX_WORKER_BYTES);
            let kept: usize =
                encoder.scratches.lock().unwrap().iter().map(|scratch| scratch.cache_bytes).sum();
            assert!(kept <= cache_bytes.max(1), "{kept} bytes kept of {cache_bytes}");
        }
    }
}
