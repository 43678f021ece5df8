//! What whoever puts something else in the file system's place needs: [`Medium`], and redb's terms that it speaks in.

pub use redb::{Builder, Database, DatabaseError, StorageBackend};

pub use crate::disk::{File, Medium};
