//! Linux images from the cluster's registry into the engine: the archive that `docker load` takes, written as it is sent.

use std::io;
use std::sync::Arc;

use bollard::query_parameters::ImportImageOptions;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream};
use wherry_image::{BlobStream, Descriptor, LinuxImage, LinuxSource, Part, Reference};

use crate::engine::{Connected, EngineError, next_step};

/// Loads an image under its name. The engine checks the layers against the config, and the config is its identity.
pub async fn load(
    engine: &Connected,
    source: &Arc<dyn LinuxSource>,
    reference: &Reference,
    image: &LinuxImage,
) -> Result<(), EngineError> {
    let (source, from) = (Arc::clone(source), reference.clone());
    let archive = stream::iter(image.archive(&reference.to_string())).then(move |part| {
        let (source, from) = (Arc::clone(&source), from.clone());
        async move { content(&*source, &from, part).await }
    });
    let steps = engine.api.import_image_stream(ImportImageOptions::default(), archive.try_flatten(), None);
    let mut steps = std::pin::pin!(steps);
    while next_step(&mut steps, "loading").await?.is_some() {}
    Ok(())
}

async fn content(source: &dyn LinuxSource, reference: &Reference, part: Part) -> io::Result<BlobStream> {
    match part {
        Part::Bytes(bytes) => Ok(stream::once(future::ready(Ok(bytes))).boxed()),
        Part::Blob(blob) => {
            let bytes = source.blob(reference, &blob.digest).await.map_err(io::Error::other)?;
            Ok(exactly(blob, bytes))
        }
    }
}

/// A blob that has the size that its header in the archive says; another one would become part of the next header.
fn exactly(blob: Descriptor, bytes: BlobStream) -> BlobStream {
    let Descriptor { digest, size, .. } = blob;
    let wrong = move || io::Error::other(format!("{digest} has not the {size} bytes that its manifest says"));
    let end = wrong.clone();
    let counted = bytes.map(Some).chain(stream::once(future::ready(None))).scan(0, move |seen, chunk| {
        let checked: io::Result<Bytes> = match chunk {
            Some(Ok(chunk)) => {
                *seen += chunk.len() as u64;
                if *seen <= size { Ok(chunk) } else { Err(wrong()) }
            }
            Some(Err(error)) => Err(error),
            None if *seen == size => Ok(Bytes::new()),
            None => Err(end()),
        };
        future::ready(Some(checked))
    });
    counted.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn whole(size: u64, chunks: &[&'static str]) -> Result<String, String> {
        let blob = Descriptor { media_type: String::new(), digest: "d".into(), size };
        let chunks: Vec<io::Result<Bytes>> =
            chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        let all = exactly(blob, stream::iter(chunks).boxed()).try_collect::<Vec<Bytes>>().await;
        all.map(|all| String::from_utf8(all.concat()).unwrap()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_blob_is_as_large_as_it_says() {
        assert_eq!(whole(4, &["ab", "cd"]).await, Ok("abcd".to_owned()));
        assert_eq!(whole(0, &[]).await, Ok(String::new()));
        assert!(whole(3, &["ab", "cd"]).await.is_err());
        assert!(whole(5, &["ab", "cd"]).await.unwrap_err().contains("5 bytes"));
    }
}
