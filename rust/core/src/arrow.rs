//! Columns of text in Arrow memory, read where they lie: the C data interface, and nothing else of Arrow.
//!
//! ```text
//! ArrowSchema ──► what the column is: utf8, large_utf8, utf8_view, binary, …, a dictionary of those, null
//! ArrowArray  ──► TextArray: buffers checked, moved in, released when dropped ──► value(row): Some(bytes) | None
//! ```
//!
//! The structs are those of <https://arrow.apache.org/docs/format/CDataInterface.html>. Three facts decide how they are
//! read here. An array's `offset` counts for its own rows: of a struct also for its children's. The interface tells no
//! lengths of buffers (views apart), so where offsets rise, the last one is taken for the length of the text. And nothing
//! promises that a "utf8" column holds UTF-8, so whoever makes `&str` of a value checks it.
//!
//! What can be checked is checked once, when the array is moved in: pointers that are missing, offsets out of order,
//! views and dictionary keys out of range, counts that contradict each other. A producer that points to memory that is
//! not there cannot be noticed; that is the contract of the interface.

mod ffi;
mod text_array;

pub use ffi::{ArrowArray, ArrowArrayStream, ArrowSchema};
pub use text_array::{TextArray, TextType};

#[cfg(test)]
mod tests;
