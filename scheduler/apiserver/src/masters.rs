//! Several masters: who is one, on whose behalf one asks another, and the connections between them.
//!
//! A master has a client certificate of a group of its own (`wherry:masters`). It carries the log's messages, and requests
//! that another master has to answer: with the user's name and groups in headers, as Kubernetes' request-header
//! authentication has them, believed from such a certificate only.

mod lines;
mod messages;

use http::{HeaderMap, HeaderName, HeaderValue};
use wherry_api::well_known::{MASTER_USER, MASTERS};
use wherry_api::{Error, Reason};

use crate::identity::Identity;

pub use lines::{Lines, Masters, NoAnswer};
pub use messages::MasterTransport;

const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");
const REMOTE_GROUP: HeaderName = HeaderName::from_static("x-remote-group");

/// Who asks, and by which way.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) identity: Identity,
    /// It is for this master only, and if it does not lead, for nobody: another one has passed it on already, or it is of the
    /// leader's own controllers.
    pub(crate) stays: bool,
}

impl Identity {
    /// A master, towards other masters.
    pub fn master(name: &str) -> Self {
        Self { user: format!("{MASTER_USER}{name}"), groups: vec![MASTERS.into()] }
    }

    /// Whether it is a master.
    pub(crate) fn is_master(&self) -> bool {
        self.user.starts_with(MASTER_USER) && self.is_in(MASTERS)
    }
}

impl Asker {
    /// Who asks in person.
    pub(crate) const fn direct(identity: Identity) -> Self {
        Self { identity, stays: false }
    }

    /// Whom a request is from: of a master's, whom its headers name.
    pub(crate) fn of(identity: Identity, headers: &HeaderMap) -> Result<Self, Error> {
        let Some(user) = headers.get(REMOTE_USER).filter(|_| identity.is_master()) else {
            return Ok(Self::direct(identity));
        };
        let groups = headers.get_all(REMOTE_GROUP).iter().map(text).collect::<Result<_, _>>()?;
        Ok(Self { identity: Identity { user: text(user)?, groups }, stays: true })
    }
}

/// The headers of a request that is made on somebody's behalf.
pub(crate) fn on_behalf(identity: &Identity) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(REMOTE_USER, value(&identity.user)?);
    for group in &identity.groups {
        headers.append(REMOTE_GROUP, value(group)?);
    }
    Ok(headers)
}

fn value(text: &str) -> Result<HeaderValue, Error> {
    let unfit = |_| Error::new(Reason::Forbidden, format!("the name {text:?} cannot be told to another master"));
    HeaderValue::from_bytes(text.as_bytes()).map_err(unfit)
}

fn text(value: &HeaderValue) -> Result<String, Error> {
    let unfit = |_| Error::new(Reason::BadRequest, "a name in the headers is no UTF-8");
    String::from_utf8(value.as_bytes().to_vec()).map_err(unfit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_master_speaks_for_others() {
        let eve = Identity { user: "Éve".into(), groups: vec!["a".into(), "b, c".into()] };
        let headers = on_behalf(&eve).unwrap();
        let asker = |identity: &Identity| Asker::of(identity.clone(), &headers).unwrap();
        let found = asker(&Identity::master("m"));
        assert_eq!((found.identity, found.stays), (eve, true));
        let unnamed = Identity { user: "m".into(), ..Identity::master("m") };
        let other = Identity { groups: vec!["system:masters".into()], ..Identity::master("m") };
        for identity in [Identity::admin(), Identity::node("n"), unnamed, other] {
            let found = asker(&identity);
            assert_eq!((found.identity, found.stays), (identity, false));
        }
        let own = Asker::of(Identity::master("m"), &HeaderMap::new()).unwrap();
        assert!(own.identity.is_master() && !own.stays);
        assert!(on_behalf(&Identity { user: "a\nb".into(), groups: Vec::new() }).is_err());
    }
}
