//! Paths of the API: which resource, object and subresource a request means.

use wherry_api::{Error, Reason, Resource, resource};

use crate::registry::Target;

/// What a path names.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) resource: &'static Resource,
    /// `None`: the cluster, or all namespaces.
    pub(super) namespace: Option<String>,
    /// Empty for a collection.
    pub(super) name: String,
    /// Empty for the object itself.
    pub(super) subresource: String,
}

impl Place {
    pub(super) fn target(&self) -> Target {
        Target::new(self.resource, self.namespace.as_deref(), &self.name)
    }
}

/// Reads `/api/v1/…` and `/apis/GROUP/VERSION/…`.
pub(super) fn parse(path: &str) -> Result<Place, Error> {
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(unescape).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err(nowhere()),
    };
    let find = |plural: &str| resource::find(group, version, plural).ok_or_else(nowhere);
    let place = |resource, namespace: Option<&str>, name: &str, subresource: &str| Place {
        resource,
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
    };
    match *rest {
        // A namespace's own subresources look like resources within it.
        ["namespaces", name, sub @ ("status" | "finalize")] if group.is_empty() => {
            Ok(place(find("namespaces")?, None, name, sub))
        }
        ["namespaces", namespace, plural] => Ok(place(namespaced(find(plural)?)?, Some(namespace), "", "")),
        ["namespaces", namespace, plural, name] => Ok(place(namespaced(find(plural)?)?, Some(namespace), name, "")),
        ["namespaces", namespace, plural, name, sub] => {
            Ok(place(namespaced(find(plural)?)?, Some(namespace), name, sub))
        }
        [plural] => Ok(place(find(plural)?, None, "", "")),
        [plural, name] => Ok(place(of_cluster(find(plural)?)?, None, name, "")),
        [plural, name, sub] => Ok(place(of_cluster(find(plural)?)?, None, name, sub)),
        _ => Err(nowhere()),
    }
}

fn namespaced(resource: &'static Resource) -> Result<&'static Resource, Error> {
    if resource.namespaced { Ok(resource) } else { Err(nowhere()) }
}

fn of_cluster(resource: &'static Resource) -> Result<&'static Resource, Error> {
    if resource.namespaced { Err(nowhere()) } else { Ok(resource) }
}

pub(super) fn nowhere() -> Error {
    Error::new(Reason::NotFound, "the server could not find the requested resource")
}

/// Percent-decodes; what is no escape stays as it is.
pub(super) fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let escaped = bytes.get(index + 1..index + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| byte == b'%') {
            Some(decoded) => (out.push(decoded), index += 3).1,
            None => (out.push(byte), index += 1).1,
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_places() {
        for (path, expected) in [
            ("/api/v1/pods", "pods - . ."),
            ("/api/v1/namespaces/a/pods/x/log", "pods a x log"),
            ("/api/v1/namespaces/a", "namespaces - a ."),
            ("/api/v1/namespaces/a/finalize", "namespaces - a finalize"),
            ("/api/v1/namespaces/a/status", "namespaces - a status"),
            ("/apis/apps/v1/namespaces/a/deployments/x%2Fy/scale", "deployments a x/y scale"),
            ("/api/v1/nodes/n", "nodes - n ."),
        ] {
            let place = parse(path).unwrap();
            let or = |text: &str| if text.is_empty() { ".".to_owned() } else { text.to_owned() };
            let namespace = place.namespace.clone().unwrap_or("-".into());
            let found = format!("{} {namespace} {} {}", place.resource.plural, or(&place.name), or(&place.subresource));
            assert_eq!(found, expected, "{path}");
        }
        for path in
            ["/api/v1/frobs", "/api/v2/pods", "/apis/apps/v1", "/api/v1/pods/x", "/api/v1/namespaces/a/nodes", "/x"]
        {
            assert_eq!(parse(path).unwrap_err().reason, Reason::NotFound, "{path}");
        }
    }
}
