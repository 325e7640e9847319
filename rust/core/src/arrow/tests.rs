use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::error::{Error, Result};

/// What a struct of the tests owns: freed when it is released, and counted.
struct Owned {
    buffers: Vec<Vec<u8>>,
    pointers: Vec<*const c_void>,
    children: Vec<*mut ArrowArray>,
    released: Arc<AtomicUsize>,
}

unsafe extern "C" fn release_array(array: *mut ArrowArray) {
    // SAFETY: called once by the consumer, with what `array` made.
    unsafe {
        let array = &mut *array;
        let owned = Box::from_raw(array.private_data.cast::<Owned>());
        for &child in &owned.children {
            drop(Box::from_raw(child));
        }
        if !array.dictionary.is_null() {
            drop(Box::from_raw(array.dictionary));
        }
        owned.released.fetch_add(1, Ordering::Relaxed);
        array.release = None;
    }
}

unsafe extern "C" fn release_schema(schema: *mut ArrowSchema) {
    // SAFETY: as above, for `schema`.
    unsafe {
        let schema = &mut *schema;
        drop(CString::from_raw(schema.format.cast_mut()));
        drop(CString::from_raw(schema.name.cast_mut()));
        let children = Box::from_raw(schema.private_data.cast::<Vec<*mut ArrowSchema>>());
        for &child in &*children {
            drop(Box::from_raw(child));
        }
        if !schema.dictionary.is_null() {
            drop(Box::from_raw(schema.dictionary));
        }
        schema.release = None;
    }
}

/// Null stands for an empty buffer.
fn array(length: i64, offset: i64, buffers: Vec<Vec<u8>>, children: Vec<ArrowArray>) -> ArrowArray {
    let pointers = buffers
        .iter()
        .map(|bytes| if bytes.is_empty() { ptr::null() } else { bytes.as_ptr().cast() })
        .collect();
    let children = children.into_iter().map(|child| Box::into_raw(Box::new(child))).collect();
    let mut owned = Box::new(Owned { buffers, pointers, children, released: Arc::default() });
    ArrowArray {
        length,
        null_count: -1,
        offset,
        n_buffers: i64::try_from(owned.buffers.len()).unwrap(),
        n_children: i64::try_from(owned.children.len()).unwrap(),
        buffers: owned.pointers.as_mut_ptr(),
        children: owned.children.as_mut_ptr(),
        dictionary: ptr::null_mut(),
        release: Some(release_array),
        private_data: Box::into_raw(owned).cast(),
    }
}

fn schema(format: &str, name: &str, children: Vec<ArrowSchema>) -> ArrowSchema {
    let mut children: Box<Vec<*mut ArrowSchema>> =
        Box::new(children.into_iter().map(|child| Box::into_raw(Box::new(child))).collect());
    ArrowSchema {
        format: CString::new(format).unwrap().into_raw(),
        name: CString::new(name).unwrap().into_raw(),
        metadata: ptr::null(),
        flags: 0,
        n_children: i64::try_from(children.len()).unwrap(),
        children: children.as_mut_ptr(),
        dictionary: ptr::null_mut(),
        release: Some(release_schema),
        private_data: Box::into_raw(children).cast(),
    }
}

fn bytes_of<T, const N: usize>(values: &[T], bytes: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(bytes).collect()
}

/// A bitmap with `offset` bits before that say nothing.
fn bitmap(offset: usize, rows: impl Iterator<Item = bool>) -> Vec<u8> {
    let bits: Vec<bool> = std::iter::repeat_n(true, offset).chain(rows).collect();
    bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit))).collect()
}

type Rows = Vec<Option<Vec<u8>>>;

/// An array of any format that holds the rows behind `offset` rows that it does not.
fn text_array(format: &str, offset: usize, rows: &Rows) -> ArrowArray {
    let all: Rows =
        std::iter::repeat_n(Some(b"before".to_vec()), offset).chain(rows.iter().cloned()).collect();
    let valid = bitmap(offset, rows.iter().map(Option::is_some));
    let values: Vec<&[u8]> = all.iter().map(|row| row.as_deref().unwrap_or(b"??")).collect();
    let mut buffers = vec![valid];
    if format.starts_with('v') {
        let (mut views, mut data) = (Vec::new(), [Vec::new(), Vec::new()]);
        for (number, value) in values.iter().enumerate() {
            views.extend(i32::try_from(value.len()).unwrap().to_le_bytes());
            if value.len() <= 12 {
                let mut place = [0; 12];
                place[..value.len()].copy_from_slice(value);
                views.extend(place);
            } else {
                let data = &mut data[number % 2];
                views.extend(&value[..4]);
                views.extend(i32::try_from(number % 2).unwrap().to_le_bytes());
                views.extend(i32::try_from(data.len()).unwrap().to_le_bytes());
                data.extend_from_slice(value);
            }
        }
        let sizes = bytes_of(&data, |data| i64::try_from(data.len()).unwrap().to_le_bytes());
        buffers.extend([views, data[0].clone(), data[1].clone(), sizes]);
    } else {
        let mut ends = vec![0];
        for value in &values {
            ends.push(ends[ends.len() - 1] + i64::try_from(value.len()).unwrap());
        }
        buffers.push(if format == "u" || format == "z" {
            bytes_of(&ends, |&end| i32::try_from(end).unwrap().to_le_bytes())
        } else {
            bytes_of(&ends, |end| end.to_le_bytes())
        });
        buffers.push(values.concat());
    }
    array(i64::try_from(rows.len()).unwrap(), i64::try_from(offset).unwrap(), buffers, Vec::new())
}

fn import(schema: &ArrowSchema, array: ArrowArray, column: Option<&str>) -> Result<TextArray> {
    // SAFETY: made by this module, or wrong in a way that is to be noticed.
    unsafe { TextArray::import(schema, array, column) }
}

fn rows_of(texts: &TextArray) -> Rows {
    texts.iter().map(|row| row.map(<[u8]>::to_vec)).collect()
}

const FORMATS: [&str; 6] = ["u", "U", "vu", "z", "Z", "vz"];

fn rows() -> impl Strategy<Value = Rows> {
    let value = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..30),
        Just(b"exactly 12 b".to_vec()),
        Just(b"thirteen byte".to_vec()),
    ];
    proptest::collection::vec(proptest::option::weighted(0.8, value), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Plain, in a dictionary, in a struct or both, with offsets everywhere, sliced: the rows that went in.
    #[test]
    fn rows_come_out_as_they_went_in(
        format in prop::sample::select(&FORMATS[..]),
        rows in rows(),
        offset in 0..11_usize,
        keys in proptest::option::of((
            proptest::collection::vec(proptest::option::weighted(0.8, any::<prop::sample::Index>()), 0..20),
            prop::sample::select(&["c", "C", "s", "S", "i", "I", "l", "L"][..]),
            0..11_usize,
        )),
        outer in proptest::option::of((0..5_usize, any::<u32>())),
        cut in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let mut inner = text_array(format, offset, &rows);
        let mut inner_type = schema(format, "text", Vec::new());
        let mut expected = rows.clone();
        if let Some((keys, key_format, key_offset)) = keys.filter(|_| !rows.is_empty()) {
            expected = keys.iter().map(|key| key.and_then(|key| rows[key.index(rows.len())].clone())).collect();
            let numbers: Vec<i64> = std::iter::repeat_n(99, key_offset)
                .chain(keys.iter().map(|key| key.map_or(77, |key| i64::try_from(key.index(rows.len())).unwrap())))
                .collect();
            let buffer = match key_format {
                "c" | "C" => bytes_of(&numbers, |key| <[u8; 1]>::try_from(&key.to_le_bytes()[..1]).unwrap()),
                "s" | "S" => bytes_of(&numbers, |key| <[u8; 2]>::try_from(&key.to_le_bytes()[..2]).unwrap()),
                "i" | "I" => bytes_of(&numbers, |key| <[u8; 4]>::try_from(&key.to_le_bytes()[..4]).unwrap()),
                _ => bytes_of(&numbers, |key| key.to_le_bytes()),
            };
            let valid = bitmap(key_offset, keys.iter().map(Option::is_some));
            let dictionary = Box::into_raw(Box::new(inner));
            let number = |count: usize| i64::try_from(count).unwrap();
            inner = array(number(keys.len()), number(key_offset), vec![valid, buffer], Vec::new());
            inner.dictionary = dictionary;
            let value_type = Box::into_raw(Box::new(inner_type));
            inner_type = schema(key_format, "text", Vec::new());
            inner_type.dictionary = value_type;
        }
        let mut column = None;
        if let Some((skipped, bits)) = outer {
            let skipped = skipped.min(expected.len());
            expected.drain(..skipped);
            let valid: Vec<bool> = (0..expected.len()).map(|row| bits >> row & 1 == 1).collect();
            for (row, _) in expected.iter_mut().zip(&valid).filter(|(_, valid)| !**valid) {
                *row = None;
            }
            let number = |count: usize| i64::try_from(count).unwrap();
            let other = text_array("u", 0, &vec![None; expected.len() + skipped]);
            inner = array(
                number(expected.len()),
                number(skipped),
                vec![bitmap(skipped, valid.into_iter())],
                vec![other, inner],
            );
            inner_type = schema("+s", "", vec![schema("u", "other", Vec::new()), inner_type]);
            column = Some("text");
        }
        // SAFETY: made by `array`.
        let released = unsafe { &*inner.private_data.cast::<Owned>() }.released.clone();
        let texts = import(&inner_type, inner, column).unwrap();
        drop(inner_type); // the type is not needed any more
        prop_assert_eq!(texts.text_type() == TextType::Text, format.ends_with('u') || format == "U");
        prop_assert_eq!(rows_of(&texts), expected.clone());
        let (one, two) = (cut.0.index(expected.len() + 1), cut.1.index(expected.len() + 1));
        let range = one.min(two)..one.max(two);
        let slice = texts.slice(range.clone());
        prop_assert!(Arc::ptr_eq(slice.owner(), texts.owner()));
        drop(texts);
        prop_assert_eq!(released.load(Ordering::Relaxed), 0);
        prop_assert_eq!(rows_of(&slice), &expected[range]);
        drop(slice);
        prop_assert_eq!(released.load(Ordering::Relaxed), 1);
    }

    /// One number of the buffers changed: the same rows, other rows, or a named error; never a read beyond.
    #[test]
    fn damage_is_named_or_harmless(
        format in prop::sample::select(&["u", "U", "vu", "vz"][..]),
        rows in rows(),
        offset in 0..5_usize,
        place in any::<prop::sample::Index>(),
        value in prop_oneof![any::<i32>(), -20..60_i32],
    ) {
        prop_assume!(!rows.is_empty());
        let damaged = text_array(format, offset, &rows);
        // SAFETY: made by `array`, and nobody else holds it yet.
        let owned = unsafe { &mut *damaged.private_data.cast::<Owned>() };
        let data_length = owned.buffers[2].len();
        let numbers = &mut owned.buffers[1];
        let num_numbers = numbers.len() / 4;
        // Not the last offset: it is what tells the length of the data.
        let last = match format {
            "u" => num_numbers - 1,
            "U" => num_numbers - 2,
            _ => num_numbers,
        };
        let place = place.index(last) * 4;
        numbers[place..place + 4].copy_from_slice(&value.to_le_bytes());
        match import(&schema(format, "", Vec::new()), damaged, None) {
            Ok(texts) => {
                // Where offsets rise to the last one, all is within the data.
                let total: usize = texts.iter().flatten().map(<[u8]>::len).sum();
                prop_assert!(format.starts_with('v') || total <= data_length);
            }
            Err(Error::InvalidArrow { reason }) => prop_assert!(!reason.is_empty()),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }
}

fn example() -> ArrowArray {
    text_array("u", 0, &vec![Some(b"ab".to_vec()), None])
}

fn refused(format: &str, change: impl FnOnce(&mut ArrowArray)) -> Error {
    let mut array = example();
    change(&mut array);
    import(&schema(format, "", Vec::new()), array, None).unwrap_err()
}

#[test]
fn what_contradicts_itself_is_named() {
    let reason = |change: fn(&mut ArrowArray)| match refused("u", change) {
        Error::InvalidArrow { reason } => reason,
        other => panic!("expected InvalidArrow, found {other:?}"),
    };
    assert!(reason(|array| array.length = -1).contains("length -1"));
    assert!(reason(|array| array.length = i64::MAX).contains("length 9223372036854775807"));
    assert!(reason(|array| array.offset = -5).contains("offset -5"));
    assert!(reason(|array| array.null_count = 3).contains("2 rows has 3 nulls"));
    assert!(reason(|array| array.null_count = -2).contains("-2 nulls"));
    assert!(reason(|array| array.n_buffers = 2).contains("2 buffers (expected 3)"));
    assert!(reason(|array| array.n_buffers = -1).contains("-1 buffers"));
    assert!(reason(|array| array.buffers = ptr::null_mut()).contains("buffers (expected 3)"));
    // SAFETY: there are three pointers.
    let without = |number| move |array: &mut ArrowArray| unsafe { *array.buffers.add(number) = ptr::null() };
    for (number, message) in [(1, "no offsets or views"), (2, "there are no data")] {
        let Error::InvalidArrow { reason } = refused("u", without(number)) else { panic!("another error") };
        assert!(reason.contains(message), "{reason}");
    }
    let no_bitmap = |array: &mut ArrowArray| {
        without(0)(array);
        array.null_count = 1;
    };
    assert!(matches!(refused("u", no_bitmap), Error::InvalidArrow { .. }));
}

#[test]
fn other_types_are_named() {
    for (format, found) in [
        ("l", "integers"),
        ("g", "floating"),
        ("+l", "lists"),
        ("+r", "runs"),
        ("b", "booleans"),
        ("?", "another"),
    ] {
        match refused(format, |_| {}) {
            Error::UnsupportedArrow { format: named, found: told } => {
                assert_eq!(named, format);
                assert!(told.contains(found), "{told}");
            }
            other => panic!("expected UnsupportedArrow, found {other:?}"),
        }
    }
    let table = || {
        let fields = schema("+s", "", vec![schema("u", "text", Vec::new())]);
        (fields, array(2, 0, vec![Vec::new()], vec![example()]))
    };
    let (fields, columns) = table();
    assert!(matches!(import(&fields, columns, None), Err(Error::UnsupportedArrow { .. })));
    let (fields, columns) = table();
    let found = import(&fields, columns, Some("code")).unwrap_err();
    assert_eq!(
        found,
        Error::MissingArrowColumn { column: "code".to_owned(), found: vec!["text".to_owned()] }
    );
    let (fields, mut columns) = table();
    columns.offset = 1;
    assert!(matches!(import(&fields, columns, Some("text")), Err(Error::InvalidArrow { .. })));
}

#[test]
fn nulls_alone_are_rows() {
    let nulls = array(3, 2, Vec::new(), Vec::new());
    let texts = import(&schema("n", "", Vec::new()), nulls, None).unwrap();
    assert_eq!(rows_of(&texts), [None, None, None]);
}

#[test]
fn a_key_beyond_the_dictionary_is_named() {
    for (format, key) in [("c", vec![2_u8]), ("c", vec![0xff]), ("L", vec![0xff; 8])] {
        let mut keys = array(1, 0, vec![Vec::new(), key], Vec::new());
        keys.dictionary = Box::into_raw(Box::new(example()));
        let mut fields = schema(format, "", Vec::new());
        fields.dictionary = Box::into_raw(Box::new(schema("u", "", Vec::new())));
        match import(&fields, keys, None).unwrap_err() {
            Error::InvalidArrow { reason } => {
                assert!(reason.contains("expected one of the dictionary's 2"), "{reason}");
            }
            other => panic!("expected InvalidArrow, found {other:?}"),
        }
    }
}

#[test]
fn a_struct_is_taken_once() {
    let mut place = example();
    // SAFETY: a place of our own.
    let taken = unsafe { ArrowArray::take(&raw mut place) }.unwrap();
    // SAFETY: as above, and no place at all.
    for again in unsafe { [ArrowArray::take(&raw mut place), ArrowArray::take(ptr::null_mut())] } {
        assert!(matches!(again, Err(Error::InvalidArrow { reason }) if reason.contains("released already")));
    }
    assert_eq!(import(&schema("u", "", Vec::new()), taken, None).unwrap().len(), 2);
}

unsafe extern "C" fn next_fails(_: *mut ArrowArrayStream, _: *mut ArrowArray) -> i32 {
    5
}

unsafe extern "C" fn next_ends(_: *mut ArrowArrayStream, _: *mut ArrowArray) -> i32 {
    0
}

unsafe extern "C" fn last_error(_: *mut ArrowArrayStream) -> *const std::ffi::c_char {
    const MESSAGE: &CStr = c"the disk is gone";
    MESSAGE.as_ptr()
}

#[test]
fn a_stream_ends_or_says_why_not() {
    let mut stream = ArrowArrayStream::empty();
    assert!(matches!(stream.next_array(), Err(Error::InvalidArrow { .. })));
    assert!(matches!(stream.schema(), Err(Error::InvalidArrow { .. })));
    stream.get_next = Some(next_ends);
    assert!(matches!(stream.next_array(), Ok(None)));
    stream.get_next = Some(next_fails);
    assert!(
        matches!(stream.next_array(), Err(Error::ArrowStream { code: 5, message }) if message == "no message")
    );
    stream.get_last_error = Some(last_error);
    let message = "the disk is gone".to_owned();
    assert_eq!(stream.next_array().unwrap_err(), Error::ArrowStream { code: 5, message });
}
