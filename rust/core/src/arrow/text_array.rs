//! One array of texts, or the column of texts in a struct array: checked when it comes in, then read without a copy.

use std::ffi::c_void;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use super::ffi::{ArrowArray, ArrowSchema, invalid};
use crate::error::{Error, Result};

/// What a column says that its values are. The values themselves are bytes either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextType {
    /// UTF-8 by its type; not checked here.
    Text,
    /// Any bytes.
    Binary,
}

/// Rows of texts in memory that a producer shares; a clone or slice shares it, too.
#[derive(Debug, Clone)]
pub struct TextArray {
    #[allow(dead_code)] // held: it is released when the last slice is dropped
    owner: Arc<ArrowArray>,
    text_type: TextType,
    rows: Range<usize>,
    /// Of the struct that the column is in; its rows are counted from 0 here.
    outer: Validity,
    keys: Option<Keys>,
    values: Values,
}

// SAFETY: the pointers lead into `owner`, whose memory nobody changes while it is not released; it may be read and
// released by any thread.
unsafe impl Send for TextArray {}
// SAFETY: as above.
unsafe impl Sync for TextArray {}

/// A bitmap of the rows that are not null, or none where all are not.
#[derive(Debug, Clone, Copy)]
struct Validity {
    bits: *const u8,
    offset: usize,
}

/// Keys into a dictionary.
#[derive(Debug, Clone, Copy)]
struct Keys {
    validity: Validity,
    start: *const u8,
    width: usize,
    signed: bool,
    offset: usize,
}

/// Where values lie.
#[derive(Debug, Clone, Copy)]
struct Values {
    validity: Validity,
    layout: Layout,
    offset: usize,
    length: usize,
}

#[derive(Debug, Clone, Copy)]
enum Layout {
    /// Every row is null.
    Null,
    /// Offsets of `width` bytes each, into one buffer.
    Offsets { offsets: *const u8, width: usize, data: *const u8 },
    /// Views of 16 bytes: short values in place, others in one of several buffers.
    Views { views: *const u8, buffers: *const *const c_void, sizes: *const u8, num_buffers: usize },
}

impl TextArray {
    /// Move an array in and check it. Of a struct array (a record batch), the column of the given name is taken.
    ///
    /// # Safety
    ///
    /// Both keep to the specification of the C data interface: what they point to is there, and nobody changes it.
    /// What contradicts itself is found (see the module).
    ///
    /// # Errors
    ///
    /// `UnsupportedArrow` for another type, `MissingArrowColumn`, `InvalidArrow`.
    pub unsafe fn import(schema: &ArrowSchema, array: ArrowArray, column: Option<&str>) -> Result<Self> {
        let owner = Arc::new(array);
        let (outer_length, outer_offset) = extent(&owner)?;
        let is_struct = schema.format()? == "+s";
        let (field, array, first, outer) = if is_struct {
            let (field, array) = child(schema, &owner, column)?;
            let outer = Validity::new(&owner, outer_length)?;
            let needed = outer_offset + outer_length;
            if extent(array)?.0 < needed {
                return Err(invalid(format!(
                    "a column has {} rows (expected {needed}, as its struct has with its offset)",
                    array.length
                )));
            }
            // Rows are counted from the struct's first one without its offset, as its children have them.
            (field, array, outer_offset, Validity { offset: 0, ..outer })
        } else {
            (schema, &*owner, 0, Validity::NONE)
        };
        let rows = first..first + outer_length;
        let (keys, value_type, value_array) = match field.dictionary() {
            None => (None, field, array),
            Some(value_type) => {
                let dictionary = array
                    .dictionary()
                    .ok_or_else(|| invalid("a dictionary column has keys and no dictionary"))?;
                (Some(Keys::new(field.format()?, array, &rows)?), value_type, dictionary)
            }
        };
        if value_type.dictionary().is_some() {
            return Err(unsupported(field.format()?, "a dictionary of dictionaries"));
        }
        let (text_type, values) = Values::new(value_type.format()?, value_array)?;
        let found = Self { owner: Arc::clone(&owner), text_type, rows: rows.clone(), outer, keys, values };
        match keys {
            None => values.check(rows)?,
            Some(keys) => {
                values.check(0..values.length)?;
                for row in rows {
                    if found.outer.is_valid(row)
                        && keys.validity.is_valid(row)
                        && usize::try_from(keys.get(row)).map_or(true, |key| key >= values.length)
                    {
                        return Err(invalid(format!(
                            "row {row} has the key {} (expected one of the dictionary's {} values)",
                            keys.get(row),
                            values.length
                        )));
                    }
                }
            }
        }
        Ok(found)
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What the column says that its values are.
    #[must_use]
    pub fn text_type(&self) -> TextType {
        self.text_type
    }

    /// Some of the rows, of the same memory.
    ///
    /// # Panics
    ///
    /// Where there are no such rows.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.len(), "rows {rows:?} of {}", self.len());
        let start = self.rows.start;
        Self { rows: start + rows.start..start + rows.end, ..self.clone() }
    }

    /// The bytes of a row; None where it is null.
    ///
    /// # Panics
    ///
    /// Where there is no such row.
    #[must_use]
    pub fn value(&self, row: usize) -> Option<&[u8]> {
        assert!(row < self.len(), "row {row} of {}", self.len());
        let row = self.rows.start + row;
        if !self.outer.is_valid(row) {
            return None;
        }
        let row = match &self.keys {
            None => row,
            Some(keys) if keys.validity.is_valid(row) => usize::try_from(keys.get(row)).ok()?,
            Some(_) => return None,
        };
        // SAFETY: `import` has checked this row, or the whole dictionary and this row's key. The memory is that of
        // `owner`, which lives as long as the borrow of `self`.
        unsafe { self.values.get(row) }
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        (0..self.len()).map(|row| self.value(row))
    }

    /// The producer's struct, to see that slices share it.
    #[cfg(test)]
    pub(super) fn owner(&self) -> &Arc<ArrowArray> {
        &self.owner
    }
}

/// Length and offset of an array, small enough that no position overflows.
fn extent(array: &ArrowArray) -> Result<(usize, usize)> {
    let limit = isize::MAX as usize / 64;
    let count = |value: i64| usize::try_from(value).ok().filter(|&value| value <= limit);
    match (count(array.length), count(array.offset)) {
        (Some(length), Some(offset)) => Ok((length, offset)),
        _ => Err(invalid(format!(
            "an array has the length {} and the offset {} (expected counts of rows)",
            array.length, array.offset
        ))),
    }
}

/// The column of a struct.
fn child<'a>(
    schema: &'a ArrowSchema,
    array: &'a ArrowArray,
    column: Option<&str>,
) -> Result<(&'a ArrowSchema, &'a ArrowArray)> {
    let (fields, arrays) = (schema.children()?, array.children()?);
    let names: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
    let Some(column) = column else {
        return Err(unsupported("+s", &format!("a table with the columns {names:?}: take one of them")));
    };
    if fields.len() != arrays.len() {
        return Err(invalid(format!(
            "a struct has {} fields and {} columns (expected as many)",
            fields.len(),
            arrays.len()
        )));
    }
    let place = names.iter().position(|name| name == column);
    place
        .map(|place| (fields[place], arrays[place]))
        .ok_or_else(|| Error::MissingArrowColumn { column: column.to_owned(), found: names })
}

impl Validity {
    const NONE: Self = Self { bits: std::ptr::null(), offset: 0 };

    fn new(array: &ArrowArray, length: usize) -> Result<Self> {
        let bits = array.buffer(0);
        // -1 says that nobody has counted.
        let has_nulls = match array.null_count {
            -1 => !bits.is_null(),
            count => count != 0,
        };
        if !(-1..=i64::try_from(length).unwrap_or(i64::MAX)).contains(&array.null_count)
            || (has_nulls && bits.is_null())
        {
            return Err(invalid(format!(
                "an array of {length} rows has {} nulls and {} bitmap of them",
                array.null_count,
                if bits.is_null() { "no" } else { "a" }
            )));
        }
        let offset = usize::try_from(array.offset).unwrap_or(0);
        Ok(if has_nulls { Self { bits, offset } } else { Self::NONE })
    }

    fn is_valid(&self, row: usize) -> bool {
        let bit = self.offset + row;
        // SAFETY: a bitmap has a bit for each row of its array, and rows were checked against its length.
        self.bits.is_null() || unsafe { *self.bits.add(bit / 8) } >> (bit % 8) & 1 == 1
    }
}

impl Keys {
    fn new(format: &str, array: &ArrowArray, rows: &Range<usize>) -> Result<Self> {
        let (width, signed) = match format {
            "c" => (1, true),
            "C" => (1, false),
            "s" => (2, true),
            "S" => (2, false),
            "i" => (4, true),
            "I" => (4, false),
            "l" => (8, true),
            "L" => (8, false),
            _ => {
                return Err(invalid(format!(
                    "a dictionary's keys have the format {format:?} (expected integers)"
                )));
            }
        };
        let (length, offset) = extent(array)?;
        let start = array.buffer(1);
        if start.is_null() && !rows.is_empty() {
            return Err(invalid(format!("a dictionary column of {} rows has no keys", rows.len())));
        }
        Ok(Self { validity: Validity::new(array, length)?, start, width, signed, offset })
    }

    fn get(&self, row: usize) -> i64 {
        // SAFETY: there is a key of `width` bytes for each row.
        let bytes =
            unsafe { slice::from_raw_parts(self.start.add((self.offset + row) * self.width), self.width) };
        let negative = self.signed && bytes[self.width - 1] >= 0x80;
        let mut all = [if negative { 0xff } else { 0 }; 8];
        all[..self.width].copy_from_slice(bytes);
        // An unsigned key beyond the largest signed one becomes negative, which no dictionary has either.
        i64::from_le_bytes(all)
    }
}

impl Values {
    fn new(format: &str, array: &ArrowArray) -> Result<(TextType, Self)> {
        let (length, offset) = extent(array)?;
        let (text_type, width) = match format {
            "n" => {
                let layout = Layout::Null;
                return Ok((TextType::Text, Self { validity: Validity::NONE, layout, offset, length }));
            }
            "u" => (TextType::Text, 4),
            "U" => (TextType::Text, 8),
            "vu" => (TextType::Text, 16),
            "z" => (TextType::Binary, 4),
            "Z" => (TextType::Binary, 8),
            "vz" => (TextType::Binary, 16),
            other => return Err(unsupported(other, name_of(other))),
        };
        let num_buffers = usize::try_from(array.n_buffers).unwrap_or(0);
        if num_buffers < 3 && (width < 16 || num_buffers < 2) || array.buffers.is_null() {
            return Err(invalid(format!(
                "a column of format {format:?} has {} buffers (expected 3)",
                array.n_buffers
            )));
        }
        let start = array.buffer(1);
        if start.is_null() && length > 0 {
            return Err(invalid(format!(
                "a column of {length} rows and format {format:?} has no offsets or views"
            )));
        }
        let layout = if width < 16 {
            Layout::Offsets { offsets: start, width, data: array.buffer(2) }
        } else {
            // Validity and views, any number of buffers, and the sizes of those.
            let num_buffers = num_buffers.saturating_sub(3);
            let sizes = array.buffer(num_buffers + 2);
            if sizes.is_null() && num_buffers > 0 {
                return Err(invalid(format!(
                    "a column of views has {num_buffers} buffers and no sizes of them"
                )));
            }
            // SAFETY: there are two pointers before those of the buffers.
            let buffers = unsafe { array.buffers.add(2) };
            Layout::Views { views: start, buffers, sizes, num_buffers }
        };
        Ok((text_type, Self { validity: Validity::new(array, length)?, layout, offset, length }))
    }

    /// Look at each of the rows once.
    fn check(&self, rows: Range<usize>) -> Result<()> {
        debug_assert!(rows.end <= self.length);
        match self.layout {
            Layout::Null => Ok(()),
            Layout::Offsets { data, .. } => {
                if rows.is_empty() {
                    return Ok(()); // the one offset there is need not be written
                }
                let first = self.bound(rows.start);
                let mut end = first;
                for row in rows {
                    let next = self.bound(row + 1);
                    if end < 0 || next < end || usize::try_from(next).is_err() {
                        return Err(invalid(format!(
                            "row {row} has the offsets {end} to {next} (expected rising ones)"
                        )));
                    }
                    end = next;
                }
                if data.is_null() && end > first {
                    return Err(invalid(format!("the offsets reach to {end}, and there are no data")));
                }
                Ok(())
            }
            Layout::Views { .. } => {
                for row in rows.filter(|&row| self.validity.is_valid(row)) {
                    if self.view(row).is_none() {
                        return Err(invalid(format!("the view of row {row} leads out of its buffer")));
                    }
                }
                Ok(())
            }
        }
    }

    /// The bytes of a row; None where it is null.
    ///
    /// # Safety
    ///
    /// `check` was content with this row, and the array is not released while the result lives.
    unsafe fn get<'a>(&self, row: usize) -> Option<&'a [u8]> {
        if !self.validity.is_valid(row) {
            return None;
        }
        let (start, length) = match self.layout {
            Layout::Null => return None,
            Layout::Views { .. } => self.view(row)?,
            Layout::Offsets { data, .. } => {
                let (start, end) = (self.bound(row), self.bound(row + 1));
                let length = usize::try_from(end - start).ok()?;
                if length == 0 {
                    return Some(&[]); // there may be no data at all
                }
                // SAFETY: `check` found the offsets to rise, and the last one is the data's length.
                (unsafe { data.add(usize::try_from(start).ok()?) }, length)
            }
        };
        // SAFETY: within a buffer, by `check`.
        Some(unsafe { slice::from_raw_parts(start, length) })
    }

    /// An offset into the data.
    fn bound(&self, row: usize) -> i64 {
        let Layout::Offsets { offsets, width, .. } = self.layout else { return 0 };
        // SAFETY: there is one offset more than rows. They are aligned mostly, but nothing promises that.
        unsafe {
            let place = offsets.add((self.offset + row) * width);
            if width == 4 {
                i64::from(place.cast::<i32>().read_unaligned())
            } else {
                place.cast::<i64>().read_unaligned()
            }
        }
    }

    /// Where the value of a view lies, and its length; None where it leads out of its buffer.
    fn view(&self, row: usize) -> Option<(*const u8, usize)> {
        let Layout::Views { views, buffers, sizes, num_buffers } = self.layout else { return None };
        // SAFETY: there is a view of 16 bytes for each row.
        let (place, [length, _, buffer, start]) = unsafe {
            let place = views.add((self.offset + row) * 16);
            (place, place.cast::<[i32; 4]>().read_unaligned())
        };
        let length = usize::try_from(length).ok()?;
        if length <= 12 {
            // SAFETY: behind the length, in the same view.
            return Some((unsafe { place.add(4) }, length));
        }
        let (buffer, start) = (usize::try_from(buffer).ok()?, usize::try_from(start).ok()?);
        if buffer >= num_buffers {
            return None;
        }
        // SAFETY: there are `num_buffers` pointers, and as many sizes.
        let (data, size) = unsafe {
            ((*buffers.add(buffer)).cast::<u8>(), sizes.add(8 * buffer).cast::<i64>().read_unaligned())
        };
        if data.is_null() || start + length > usize::try_from(size).ok()? {
            return None;
        }
        // SAFETY: within the buffer.
        Some((unsafe { data.add(start) }, length))
    }
}

fn unsupported(format: &str, found: &str) -> Error {
    Error::UnsupportedArrow { format: format.to_owned(), found: found.to_owned() }
}

/// What a format stands for, as far as users of text meet it.
fn name_of(format: &str) -> &'static str {
    match format {
        "b" => "booleans",
        "c" | "C" | "s" | "S" | "i" | "I" | "l" | "L" => "integers",
        "e" | "f" | "g" => "floating-point numbers",
        "+s" => "structs",
        "+r" => "runs",
        _ if format.starts_with("+l")
            || format.starts_with("+L")
            || format.starts_with("+v")
            || format.starts_with("+w") =>
        {
            "lists"
        }
        _ if format.starts_with('t') => "times",
        _ if format.starts_with('d') => "decimals",
        _ if format.starts_with("w:") => "binary values of one size",
        _ => "another type",
    }
}
