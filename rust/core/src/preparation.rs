//! Stage 0: what happens to a text before it is cut into pieces.
//!
//! ```text
//! text ──► added tokens ──► NFC ──► added tokens that match in ──► a blank in front ──► sections
//!          as they stand            normalized text                of each text
//!
//! "x<tool_call>e\u{301}"  ──►  Text("x")  Token(151657)  Text("é")
//! ```
//!
//! Most tokenizers need none of it, and most texts stay as they are where it is done: then the one section is the text
//! itself. White space is `White_Space` of Unicode, the same 25 characters as `\s` of `tokenizers`.

use std::borrow::Cow;

use crate::added_tokens::AddedTokens;
use crate::error::Result;
use crate::normalize::nfc;

/// What a tokenizer does to texts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Preparation {
    /// Matched in the text as it stands.
    pub(crate) added: Option<AddedTokens>,
    /// Matched in normalized text.
    pub(crate) added_normalized: Option<AddedTokens>,
    pub(crate) normalizes: bool,
    /// A text that does not start with a blank gets one.
    pub(crate) adds_prefix_space: bool,
}

/// A part of a prepared text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Section<'t> {
    /// To be cut into pieces; never empty.
    Text(Cow<'t, str>),
    /// The id of an added token.
    Token(u32),
}

impl Preparation {
    /// Every text stays as it is.
    pub(crate) fn is_nothing(&self) -> bool {
        self.added.is_none() && self.added_normalized.is_none() && !self.normalizes && !self.adds_prefix_space
    }

    /// Whether this text stays as it is.
    pub(crate) fn leaves(&self, text: &str) -> bool {
        let mut is_same = true;
        // The first section tells.
        let _ = self.for_each_section(text, |section| {
            is_same &= matches!(section, Section::Text(Cow::Borrowed(part)) if part.len() == text.len());
            Ok(())
        });
        is_same
    }

    /// Call `work` with each section of a text, in order.
    pub(crate) fn for_each_section<'t>(
        &self,
        text: &'t str,
        mut work: impl FnMut(Section<'t>) -> Result<()>,
    ) -> Result<()> {
        let Some(added) = &self.added else { return self.normalize(text, &mut work) };
        // A token may begin inside of the white space that the one before took.
        let mut done = 0;
        for (id, place) in added.find(text) {
            self.normalize(&text[done..place.start.max(done)], &mut work)?;
            work(Section::Token(id))?;
            done = place.end;
        }
        self.normalize(&text[done..], &mut work)
    }

    fn normalize<'t>(&self, text: &'t str, work: &mut impl FnMut(Section<'t>) -> Result<()>) -> Result<()> {
        match if self.normalizes { nfc(text) } else { Cow::Borrowed(text) } {
            Cow::Borrowed(text) => self.split_normalized(text, &mut |part| Cow::Borrowed(part), work),
            Cow::Owned(text) => self.split_normalized(&text, &mut |part| Cow::Owned(part.to_owned()), work),
        }
    }

    /// `keep` makes a part of the text one that outlives it.
    fn split_normalized<'n, 't>(
        &self,
        text: &'n str,
        keep: &mut impl FnMut(&'n str) -> Cow<'t, str>,
        work: &mut impl FnMut(Section<'t>) -> Result<()>,
    ) -> Result<()> {
        let mut put_text = |part: &'n str, work: &mut dyn FnMut(Section<'t>) -> Result<()>| {
            if part.is_empty() {
                return Ok(());
            }
            let with_prefix = self.adds_prefix_space && !part.starts_with(' ');
            work(Section::Text(if with_prefix { Cow::Owned([" ", part].concat()) } else { keep(part) }))
        };
        let mut done = 0;
        if let Some(added) = &self.added_normalized {
            for (id, place) in added.find(text) {
                put_text(&text[done..place.start.max(done)], work)?;
                work(Section::Token(id))?;
                done = place.end;
            }
        }
        put_text(&text[done..], work)
    }
}
