//! Compiled code on its way from who may compile to who runs guests: two processes.

use std::fs::File;
use std::io;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Image, ImageError, ImageRequest, Runtime};

/// A module's compiled code.
#[derive(Debug)]
pub struct Code {
    /// Its file, open for reading.
    pub file: File,
    /// How it is loaded, in the words of who compiled it.
    pub form: String,
}

/// Turns modules into native code where one that gets the better of the compiler does no harm.
#[async_trait]
pub trait Codegen: Send + Sync + 'static {
    /// Compiles a module, whose code counts `epochs`, at which it yields, or does not. The answer is in the words of the
    /// engine, and trusted with no more than that module; the error is a sentence. Whoever waits no longer ends it.
    async fn generate(&self, module: Bytes, epochs: bool) -> Result<Vec<u8>, String>;
}

/// Makes images ready for others to run.
#[async_trait]
pub trait Compiler: Send + Sync + 'static {
    /// Present, checked, compiled. The pull policy means what it means in Kubernetes.
    async fn prepare(&self, wanted: &ImageRequest<'_>) -> Result<Image, ImageError>;

    /// The code of an image that was prepared, its signature checked.
    fn code(&self, digest: &str) -> io::Result<Code>;

    /// What code is compiled for: only an engine that says the same runs it.
    fn engine(&self) -> String;
}

/// A runtime that compiles nothing: it is given the code of each image before the first container of it.
pub trait GivenCode: Runtime {
    /// Takes code that a `Compiler` of the same release made.
    fn install(&self, digest: &str, code: Code) -> Result<(), ImageError>;

    /// Which code runs here.
    fn engine(&self) -> String;
}
