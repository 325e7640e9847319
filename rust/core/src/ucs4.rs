//! Code points as Python gives them to UTF-8. Python's own encoder takes each character for itself; most characters of most
//! texts that are not ASCII are.

/// Characters that are looked at together.
const CHUNK: usize = 16;

/// The UTF-8 of some code points; None where one is no character (a lone surrogate).
#[must_use]
pub fn to_utf8(code_points: &[u32]) -> Option<String> {
    let mut utf8 = Vec::with_capacity(code_points.len() + code_points.len() / 8);
    let (chunks, rest) = code_points.as_chunks::<CHUNK>();
    for chunk in chunks {
        if chunk.iter().fold(0, |all, code_point| all | code_point) < 0x80 {
            utf8.extend_from_slice(&chunk.map(|code_point| code_point.to_le_bytes()[0]));
        } else {
            encode_each(chunk, &mut utf8)?;
        }
    }
    encode_each(rest, &mut utf8)?;
    // SAFETY: all that was appended is ASCII or the UTF-8 of a character.
    Some(unsafe { String::from_utf8_unchecked(utf8) })
}

fn encode_each(code_points: &[u32], utf8: &mut Vec<u8>) -> Option<()> {
    for &code_point in code_points {
        let character = char::from_u32(code_point)?;
        utf8.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::to_utf8;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn as_the_standard_library_does(text in prop_oneof!["\\PC{0,80}", "[ -~]{0,60}\\PC[ -~]{0,60}"]) {
            let code_points: Vec<u32> = text.chars().map(u32::from).collect();
            prop_assert_eq!(to_utf8(&code_points), Some(text));
        }

        #[test]
        fn a_surrogate_is_refused(before in "[ -~é]{0,40}", surrogate in 0xd800_u32..0xe000, after in "[ -~é]{0,40}") {
            let mut code_points: Vec<u32> = before.chars().map(u32::from).collect();
            code_points.push(surrogate);
            code_points.extend(after.chars().map(u32::from));
            prop_assert_eq!(to_utf8(&code_points), None);
        }
    }
}
