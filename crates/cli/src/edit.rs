//! `edit`: an object as YAML in the person's own editor; what differs afterwards goes back as a merge patch.

use std::fs;
use std::io::Write;
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::NamedTempFile;
use wherry_api::yaml;
use wherry_client::ListOptions;

use crate::args::EditArgs;
use crate::change::difference;
use crate::objects::{Objects, select, shown, targets, text};

const HEAD: &str = "# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit.
#
";
const CANCELLED: &str = "Edit cancelled, no changes made.";

/// Opens the objects in the editor, one after the other.
pub async fn run(args: EditArgs) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    if targets(&args.what)?.iter().any(|target| target.name.is_none()) {
        bail!("name the objects to edit, as RESOURCE NAME or RESOURCE/NAME");
    }
    let namespace = Some(args.cluster.namespace.as_str());
    for (resource, object) in select(&client, &args.what, namespace, &ListOptions::default()).await? {
        let objects = Objects::new(&client, resource, namespace);
        edit(&objects, &object, &shown(resource, &object)).await?;
    }
    Ok(())
}

async fn edit(objects: &Objects, object: &Value, shown: &str) -> anyhow::Result<()> {
    let mut file = tempfile::Builder::new().prefix("wherry-edit-").suffix(".yaml").tempfile()?;
    write!(file, "{HEAD}{}", yaml::print(object)?)?;
    open_editor(&file)?;
    // Editors that replace the file leave the one that was opened here behind.
    let edited = fs::read_to_string(file.path()).context("cannot read what was edited")?;
    let sent = async {
        let Some(patch) = patch(object, &edited)? else { return Ok(false) };
        objects.merge(text(object, "/metadata/name"), "", &patch).await?;
        anyhow::Ok(true)
    };
    match sent.await {
        Ok(true) => sayln!("{shown} edited"),
        Ok(false) => eprintln!("{CANCELLED}"),
        Err(error) => {
            let (_, path) = file.keep()?;
            eprintln!("A copy of your changes has been stored to \"{}\"", path.display());
            return Err(error.context(format!("cannot edit {shown}")));
        }
    }
    Ok(())
}

/// What leads from the object to the edited text; nothing where the text says the same, or nothing at all.
fn patch(object: &Value, edited: &str) -> anyhow::Result<Option<Value>> {
    match yaml::parse(edited).context("what was edited is no YAML")?.as_slice() {
        [] => Ok(None),
        [edited] => Ok(difference(object, edited)),
        _ => bail!("what was edited is more than one document"),
    }
}

fn open_editor(file: &NamedTempFile) -> anyhow::Result<()> {
    let wanted = ["KUBE_EDITOR", "EDITOR"].into_iter().filter_map(|name| std::env::var(name).ok());
    let editor = wanted.into_iter().find(|editor| !editor.is_empty()).unwrap_or_else(|| "vi".to_owned());
    // An editor may come with arguments, as a shell reads them.
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$0\"")).arg(file.path()).status();
    let status = status.with_context(|| format!("cannot start the editor \"{editor}\""))?;
    if !status.success() {
        bail!("the editor \"{editor}\" ended with {status}; set KUBE_EDITOR or EDITOR to another one");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_edited_is_sent() {
        let object = json!({"data": {"a": "1", "b": "2"}});
        let printed = format!("{HEAD}{}", yaml::print(&object).unwrap());
        for (edited, expected) in [
            (printed.clone(), Some(None)),
            (HEAD.to_owned(), Some(None)),
            (printed.replace('2', "3"), Some(Some(json!({"data": {"b": "3"}})))),
            ("data: {b: '2'}".to_owned(), Some(Some(json!({"data": {"a": null}})))),
            ("data: [".to_owned(), None),
            ("a: 1\n---\nb: 1\n".to_owned(), None),
        ] {
            assert_eq!(patch(&object, &edited).ok(), expected, "{edited}");
        }
    }
}
