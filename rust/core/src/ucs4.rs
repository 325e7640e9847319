//! Code points as Python gives them to UTF-8. Python's own encoder takes each character for itself; most characters of most
//! texts that are not ASCII are.
//!
//! With AVX-512 the four bytes that a character may have are made in a lane of 32 bits, and the bytes that it has are
//! pushed together:
//!
//! ```text
//! lanes      a      é       ☃        𝄞            16 at a time
//! bytes   . . . a│. . é é│. ☃ ☃ ☃│𝄞 𝄞 𝄞 𝄞       the last byte of a character is the last one of its lane
//! has     0 0 0 1│0 0 1 1│0 1 1 1│1 1 1 1
//! stored  a é é ☃ ☃ ☃ 𝄞 𝄞 𝄞 𝄞
//! ```

use crate::huge_pages;
use crate::instructions::{Instructions, Level};

/// Characters that are looked at together.
const CHUNK: usize = 16;
/// So many bytes may be written behind the last one that counts.
const OVERHANG: usize = 4 * CHUNK;

/// Make room for so many bytes, on huge pages.
pub fn reserve(utf8: &mut String, num_bytes: usize) {
    // SAFETY: making room changes no contents.
    huge_pages::reserve(unsafe { utf8.as_mut_vec() }, num_bytes + OVERHANG);
}

/// Append the UTF-8 of some code points. `false` where one is no character (a lone surrogate): `utf8` is then as it was.
#[must_use]
pub fn append_utf8(instructions: Instructions, code_points: &[u32], utf8: &mut String) -> bool {
    let before = utf8.len();
    reserve(utf8, 4 * code_points.len());
    // SAFETY: all that is appended is ASCII or the UTF-8 of a character, and what is not whole is taken off again.
    let bytes = unsafe { utf8.as_mut_vec() };
    let is_text = match instructions.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level exists only where the machine has its instructions; room was made.
        Level::Avx512 => unsafe { append_avx512(code_points, bytes) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { append_avx2(code_points, bytes) },
        Level::Portable => append_plain(code_points, bytes),
    };
    if !is_text {
        bytes.truncate(before);
    }
    is_text
}

#[inline(always)]
#[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
fn append_plain(code_points: &[u32], utf8: &mut Vec<u8>) -> bool {
    let (chunks, rest) = code_points.as_chunks::<CHUNK>();
    for chunk in chunks {
        if chunk.iter().fold(0, |all, code_point| all | code_point) < 0x80 {
            utf8.extend_from_slice(&chunk.map(|code_point| code_point.to_le_bytes()[0]));
        } else if !append_each(chunk, utf8) {
            return false;
        }
    }
    append_each(rest, utf8)
}

fn append_each(code_points: &[u32], utf8: &mut Vec<u8>) -> bool {
    code_points.iter().all(|&code_point| {
        let Some(character) = char::from_u32(code_point) else { return false };
        utf8.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        true
    })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn append_avx2(code_points: &[u32], utf8: &mut Vec<u8>) -> bool {
    append_plain(code_points, utf8)
}

/// # Safety
///
/// `utf8` has room for four bytes of each code point and `OVERHANG` more.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
unsafe fn append_avx512(code_points: &[u32], utf8: &mut Vec<u8>) -> bool {
    use std::arch::x86_64::{
        __m512i, _mm_storeu_si128, _mm512_and_si512, _mm512_cmpeq_epi32_mask, _mm512_cmpge_epu32_mask,
        _mm512_cvtepi32_epi8, _mm512_loadu_si512, _mm512_mask_mov_epi32, _mm512_maskz_compress_epi8,
        _mm512_movepi8_mask, _mm512_or_si512, _mm512_set1_epi32, _mm512_slli_epi32, _mm512_srli_epi32,
        _mm512_storeu_si512,
    };
    let all = |bits: u32| _mm512_set1_epi32(bits.cast_signed());
    let or = |first: __m512i, second: __m512i| _mm512_or_si512(first, second);
    let (chunks, rest) = code_points.as_chunks::<CHUNK>();
    let mut len = utf8.len();
    for chunk in chunks {
        // SAFETY: a chunk is 64 bytes. Each appends at most four bytes a code point, so there is room for those of this
        // one, written in any case, and of what counts for all.
        unsafe {
            let points = _mm512_loadu_si512(chunk.as_ptr().cast());
            let end = utf8.as_mut_ptr().add(len);
            let two = _mm512_cmpge_epu32_mask(points, all(0x80));
            if two == 0 {
                _mm_storeu_si128(end.cast(), _mm512_cvtepi32_epi8(points));
                len += CHUNK;
                continue;
            }
            let three = _mm512_cmpge_epu32_mask(points, all(0x800));
            let four = _mm512_cmpge_epu32_mask(points, all(0x1_0000));
            let surrogates = _mm512_cmpeq_epi32_mask(_mm512_and_si512(points, all(0xffff_f800)), all(0xd800));
            if surrogates | _mm512_cmpge_epu32_mask(points, all(0x11_0000)) != 0 {
                return false;
            }
            // Six bits for each byte but the first of a character, which has what is left.
            let last = _mm512_and_si512(_mm512_slli_epi32::<24>(points), all(0x3f00_0000));
            let third = _mm512_and_si512(_mm512_slli_epi32::<10>(points), all(0x003f_0000));
            let second = _mm512_and_si512(_mm512_srli_epi32::<4>(points), all(0x0000_3f00));
            let spread = or(or(last, third), or(second, _mm512_srli_epi32::<18>(points)));
            let marks = _mm512_mask_mov_epi32(all(0x80c0_0000), three, all(0x8080_e000));
            let marks = _mm512_mask_mov_epi32(marks, four, all(0x8080_80f0));
            let bytes = _mm512_mask_mov_epi32(_mm512_slli_epi32::<24>(points), two, or(spread, marks));
            let has = _mm512_mask_mov_epi32(all(0x8000_0000), two, all(0x8080_0000));
            let has = _mm512_mask_mov_epi32(has, three, all(0x8080_8000));
            let has = _mm512_movepi8_mask(_mm512_mask_mov_epi32(has, four, all(0x8080_8080)));
            _mm512_storeu_si512(end.cast(), _mm512_maskz_compress_epi8(has, bytes));
            len += has.count_ones() as usize;
        }
    }
    // SAFETY: so many bytes were written, and there was room for them.
    unsafe { utf8.set_len(len) };
    append_each(rest, utf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Texts of characters of every length, in runs and mixed.
    fn texts() -> impl Strategy<Value = String> {
        let characters = || {
            prop_oneof![
                4 => "[ -~]{1,40}",
                1 => "[\u{0}\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}]{1,20}",
                1 => "[\u{80}-\u{7ff}]{1,20}",
                1 => "[\u{800}-\u{ffff}]{1,20}",
                1 => "[\u{10000}-\u{10ffff}]{1,20}",
                1 => "\\PC{1,20}",
            ]
        };
        prop::collection::vec(characters(), 0..8).prop_map(|parts| parts.concat())
    }

    #[test]
    fn every_character_is_as_the_standard_library_has_it() {
        let every: String = ('\0'..=char::MAX).collect();
        let code_points: Vec<u32> = every.chars().map(u32::from).collect();
        for instructions in Instructions::available() {
            let mut utf8 = String::new();
            assert!(append_utf8(instructions, &code_points, &mut utf8));
            assert!(utf8 == every, "{}", instructions.name());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn as_the_standard_library_does(text in texts(), before in "\\PC{0,3}") {
            let code_points: Vec<u32> = text.chars().map(u32::from).collect();
            for instructions in Instructions::available() {
                let mut utf8 = before.clone();
                prop_assert!(append_utf8(instructions, &code_points, &mut utf8));
                prop_assert_eq!(&utf8, &format!("{before}{text}"));
            }
        }

        #[test]
        fn what_is_no_character_is_refused(
            before in texts(),
            none in prop_oneof![0xd800_u32..0xe000, 0x11_0000..=u32::MAX],
            after in texts(),
        ) {
            let mut code_points: Vec<u32> = before.chars().map(u32::from).collect();
            code_points.push(none);
            code_points.extend(after.chars().map(u32::from));
            for instructions in Instructions::available() {
                let mut utf8 = before.clone();
                prop_assert!(!append_utf8(instructions, &code_points, &mut utf8));
                prop_assert_eq!(&utf8, &before);
            }
        }
    }
}
