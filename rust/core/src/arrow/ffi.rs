//! The three structs of the C data interface, each released once.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use crate::error::{Error, Result};

/// `struct ArrowSchema`: the type of an array.
#[repr(C)]
#[derive(Debug)]
pub struct ArrowSchema {
    pub(super) format: *const c_char,
    pub(super) name: *const c_char,
    pub(super) metadata: *const c_char,
    pub(super) flags: i64,
    pub(super) n_children: i64,
    pub(super) children: *mut *mut ArrowSchema,
    pub(super) dictionary: *mut ArrowSchema,
    pub(super) release: Option<unsafe extern "C" fn(*mut ArrowSchema)>,
    pub(super) private_data: *mut c_void,
}

/// `struct ArrowArray`: the buffers of an array.
#[repr(C)]
#[derive(Debug)]
pub struct ArrowArray {
    pub(super) length: i64,
    pub(super) null_count: i64,
    pub(super) offset: i64,
    pub(super) n_buffers: i64,
    pub(super) n_children: i64,
    pub(super) buffers: *mut *const c_void,
    pub(super) children: *mut *mut ArrowArray,
    pub(super) dictionary: *mut ArrowArray,
    pub(super) release: Option<unsafe extern "C" fn(*mut ArrowArray)>,
    pub(super) private_data: *mut c_void,
}

/// `struct ArrowArrayStream`: arrays of one type, one after the other.
#[repr(C)]
#[derive(Debug)]
pub struct ArrowArrayStream {
    pub(super) get_schema: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowSchema) -> c_int>,
    pub(super) get_next: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowArray) -> c_int>,
    pub(super) get_last_error: Option<unsafe extern "C" fn(*mut ArrowArrayStream) -> *const c_char>,
    pub(super) release: Option<unsafe extern "C" fn(*mut ArrowArrayStream)>,
    pub(super) private_data: *mut c_void,
}

/// What the three have in common: moved by copying, released by a callback that marks the struct as released.
macro_rules! moved_and_released {
    ($kind:ident, $word:literal, $empty:expr) => {
        // SAFETY: the specification lets any thread read and release the structs, one at a time for what changes them;
        // shared references here only read, and only `Drop` and `&mut` call back.
        unsafe impl Send for $kind {}
        // SAFETY: as above.
        unsafe impl Sync for $kind {}

        impl $kind {
            /// A released struct, for a producer to fill.
            #[must_use]
            pub fn empty() -> Self {
                $empty
            }

            /// Move a struct out of its place, which is left released.
            ///
            /// # Safety
            ///
            /// `place` is null or points to such a struct, which keeps to the specification of the C data interface.
            ///
            /// # Errors
            ///
            /// `InvalidArrow` where there is none, or it is released already.
            pub unsafe fn take(place: *mut Self) -> Result<Self> {
                // SAFETY: the caller says that it points to a struct, if to anything.
                let taken = match unsafe { place.as_mut() } {
                    Some(place) => std::mem::replace(place, Self::empty()),
                    None => Self::empty(),
                };
                if taken.release.is_none() {
                    return Err(super::ffi::invalid(concat!(
                        "the ",
                        $word,
                        " is released already (expected one that nobody has consumed)"
                    )));
                }
                Ok(taken)
            }
        }

        impl Drop for $kind {
            fn drop(&mut self) {
                if let Some(release) = self.release {
                    // SAFETY: not released yet, and this struct is the only copy; the callback marks it.
                    unsafe { release(self) };
                }
            }
        }
    };
}

moved_and_released!(
    ArrowSchema,
    "schema",
    Self {
        format: ptr::null(),
        name: ptr::null(),
        metadata: ptr::null(),
        flags: 0,
        n_children: 0,
        children: ptr::null_mut(),
        dictionary: ptr::null_mut(),
        release: None,
        private_data: ptr::null_mut(),
    }
);
moved_and_released!(
    ArrowArray,
    "array",
    Self {
        length: 0,
        null_count: 0,
        offset: 0,
        n_buffers: 0,
        n_children: 0,
        buffers: ptr::null_mut(),
        children: ptr::null_mut(),
        dictionary: ptr::null_mut(),
        release: None,
        private_data: ptr::null_mut(),
    }
);
moved_and_released!(
    ArrowArrayStream,
    "stream",
    Self {
        get_schema: None,
        get_next: None,
        get_last_error: None,
        release: None,
        private_data: ptr::null_mut(),
    }
);

impl ArrowSchema {
    /// The format string.
    pub(super) fn format(&self) -> Result<&str> {
        text(self.format).ok_or_else(|| invalid("the schema has no format (expected one such as u or U)"))
    }

    /// The name of a field; empty where it has none.
    pub(super) fn name(&self) -> &str {
        text(self.name).unwrap_or_default()
    }

    pub(super) fn dictionary(&self) -> Option<&Self> {
        // SAFETY: null, or a schema that lives as long as its parent.
        unsafe { self.dictionary.as_ref() }
    }

    pub(super) fn children(&self) -> Result<Vec<&Self>> {
        // SAFETY: pointers to schemas that live as long as their parent, `n_children` of them.
        unsafe { pointees(self.children, self.n_children) }
    }
}

impl ArrowArray {
    pub(super) fn dictionary(&self) -> Option<&Self> {
        // SAFETY: null, or an array that lives as long as its parent.
        unsafe { self.dictionary.as_ref() }
    }

    pub(super) fn children(&self) -> Result<Vec<&Self>> {
        // SAFETY: pointers to arrays that live as long as their parent, `n_children` of them.
        unsafe { pointees(self.children, self.n_children) }
    }

    /// A buffer; null where there is none.
    pub(super) fn buffer(&self, number: usize) -> *const u8 {
        let count = usize::try_from(self.n_buffers).unwrap_or(0);
        if self.buffers.is_null() || number >= count {
            return ptr::null();
        }
        // SAFETY: there are `n_buffers` pointers.
        unsafe { *self.buffers.add(number) }.cast()
    }
}

impl ArrowArrayStream {
    /// The type of all arrays of the stream.
    pub fn schema(&mut self) -> Result<ArrowSchema> {
        let mut schema = ArrowSchema::empty();
        let get_schema = self.get_schema.ok_or_else(|| invalid("the stream has no get_schema"))?;
        // SAFETY: the stream is not released, and `schema` is ours to be filled.
        let code = unsafe { get_schema(self, &raw mut schema) };
        self.check(code)?;
        // SAFETY: filled by the producer.
        unsafe { ArrowSchema::take(&raw mut schema) }
    }

    /// The next array; None at the end.
    pub fn next_array(&mut self) -> Result<Option<ArrowArray>> {
        let mut array = ArrowArray::empty();
        let get_next = self.get_next.ok_or_else(|| invalid("the stream has no get_next"))?;
        // SAFETY: as in `schema`.
        let code = unsafe { get_next(self, &raw mut array) };
        self.check(code)?;
        // The end is a released array.
        Ok(array.release.is_some().then_some(array))
    }

    fn check(&mut self, code: c_int) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the stream is not released; the text is valid until the next call.
        let message =
            self.get_last_error.map(|get| unsafe { get(self) }).and_then(text).unwrap_or("no message");
        Err(Error::ArrowStream { code, message: message.to_owned() })
    }
}

/// A C string as text; None where it is null or no UTF-8.
fn text<'a>(pointer: *const c_char) -> Option<&'a str> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the specification has null-terminated strings that live as long as their struct.
    unsafe { CStr::from_ptr(pointer) }.to_str().ok()
}

/// What an array of pointers points to.
///
/// # Safety
///
/// `pointers` is null or has `count` elements, each null or a pointer to a struct that lives for `'a`.
unsafe fn pointees<'a, T>(pointers: *mut *mut T, count: i64) -> Result<Vec<&'a T>> {
    let count = usize::try_from(count).map_err(|_| invalid(format!("a struct has {count} children")))?;
    if pointers.is_null() && count > 0 {
        return Err(invalid(format!("a struct has {count} children, and no pointers to them")));
    }
    (0..count)
        .map(|index| {
            // SAFETY: by the caller.
            unsafe { (*pointers.add(index)).as_ref() }
                .ok_or_else(|| invalid(format!("child {index} of a struct is missing")))
        })
        .collect()
}

/// Shorthand for what contradicts itself.
pub(super) fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidArrow { reason: reason.into() }
}
