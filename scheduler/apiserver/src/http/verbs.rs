//! Methods of HTTP as verbs of the registry.

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode};
use wherry_api::json::Parsed;
use wherry_api::resource::{FieldValidation, Subresource};
use wherry_api::{Error, Reason};
use wherry_client::PatchKind;

use super::encode::{self, Form};
use super::parameters::Parameters;
use super::path::Place;
use super::relay::{Asked, at_leader};
use super::{Context, body, deletion, discovery, logs, streams, watch};
use crate::authorize::Attributes;
use crate::identity::Identity;
use crate::masters::Asker;
use crate::registry::{WriteOptions, Written, named_subresource, oldest};

/// A request to a resource, taken apart.
struct Call<'a> {
    context: &'a Context,
    identity: &'a Identity,
    place: Place,
    subresource: Option<Subresource>,
    parameters: Parameters,
    form: Form,
}

/// Authorizes and carries out a request to a resource.
pub(super) async fn carry_out(
    context: &Context,
    asker: &Asker,
    place: Place,
    request: Request,
) -> Result<Response, Error> {
    let identity = &asker.identity;
    let (mut parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let parameters = Parameters::parse(query);
    let named = named_subresource(&place.target(), &place.subresource)?;
    let verb = verb(&parts.method, &place, &parameters)?;
    check_verb(verb, &place, named)?;
    let connection = named.and_then(streams::Kind::of);
    // To connect is to do something, by whatever method it is asked for.
    let verb = if connection.is_some() { "create" } else { verb };
    let Place { resource, subresource, namespace, name, .. } = &place;
    let (namespace, fields) = (namespace.as_deref(), parameters.get("fieldSelector"));
    context.registry.authorize(identity, &Attributes { verb, resource, subresource, namespace, name, fields })?;
    if let Some(kind) = connection {
        return streams::answer(context, &place.target(), kind, &parameters, &mut parts).await;
    }
    let is_log = named == Some(Subresource::Log);
    let form = if is_log { Form::Whole } else { Form::of(&parts.headers, parameters.get("includeObject"))? };
    let call = Call { context, identity, place, subresource: named, parameters, form };
    let is_read = matches!(verb, "get" | "list" | "watch");
    if is_log {
        return call.log(query).await;
    }
    if is_read && !call.place.resource.volatile {
        return call.read(verb).await;
    }
    let whole = body::read(context, body).await?;
    let (call, content_type, sent) = (&call, body::content_type(&parts.headers), &whole.bytes);
    let asked = Asked { parts: &parts, body: sent, is_watch: verb == "watch" };
    at_leader(context, asker, &asked, move || call.at_leader(verb, content_type, sent)).await
}

impl Call<'_> {
    /// Reads here what any master can show.
    async fn read(&self, verb: &str) -> Result<Response, Error> {
        match verb {
            "get" => self.get().await,
            "list" => self.list().await,
            _ => self.watch().await,
        }
    }

    /// Writes, or reads what only the leader can show; this master leads.
    async fn at_leader(&self, verb: &str, content_type: &str, body: &[u8]) -> Result<Response, Error> {
        if !matches!(verb, "get" | "list" | "watch") {
            return self.write(verb, content_type, body).await;
        }
        self.context.registry.check_readable(self.place.resource)?;
        self.read(verb).await
    }

    async fn get(&self) -> Result<Response, Error> {
        let target = self.place.target();
        let registry = &self.context.registry;
        registry.reach(self.parameters.revision()?).await?;
        if self.subresource == Some(Subresource::Scale) {
            return Ok(encode::json(StatusCode::OK, registry.scale(&target)?.to_string().into(), &[]));
        }
        Ok(self.object(StatusCode::OK, &registry.get(&target)?, &[]))
    }

    async fn list(&self) -> Result<Response, Error> {
        let Place { resource, namespace, .. } = &self.place;
        let (options, wanted) = self.parameters.list()?;
        let registry = &self.context.registry;
        registry.reach(oldest(&options, wanted)).await?;
        let page = registry.list(resource, namespace.as_deref(), &options)?;
        Ok(encode::page(registry, resource, page, self.form))
    }

    async fn watch(&self) -> Result<Response, Error> {
        let (options, wanted) = self.parameters.watch()?;
        self.context.registry.reach(wanted).await?;
        watch::answer(self.context, &self.place, &self.parameters, options, self.form)
    }

    async fn log(&self, query: &str) -> Result<Response, Error> {
        logs::answer(self.context, &self.place.target(), query, self.parameters.get("container")).await
    }

    async fn write(&self, verb: &str, content_type: &str, body: &[u8]) -> Result<Response, Error> {
        match verb {
            "create" => self.create(body::object(content_type, body)?).await,
            "update" => self.update(body::object(content_type, body)?).await,
            "patch" => {
                let (kind, patch) = body::patch(content_type, body)?;
                self.patch(kind, &patch).await
            }
            "delete" => self.delete(content_type, body).await,
            _ => self.delete_collection(content_type, body).await,
        }
    }

    async fn create(&self, mut sent: Parsed) -> Result<Response, Error> {
        let Place { resource, namespace, .. } = &self.place;
        let registry = &self.context.registry;
        let options = self.options()?;
        if let Some(subresource) = self.subresource {
            let json = registry.post(&self.place.target(), subresource, &sent.value, options.dry_run).await?;
            return Ok(encode::json(StatusCode::CREATED, json, &[]));
        }
        let warnings = self.duplicates(&sent, &options)?;
        self.identity.stamp(resource, &mut sent.value);
        let written = registry.create(resource, namespace.as_deref(), sent.value, &options).await?;
        Ok(self.written(StatusCode::CREATED, written, warnings))
    }

    async fn update(&self, sent: Parsed) -> Result<Response, Error> {
        let (registry, target, options) = (&self.context.registry, self.place.target(), self.options()?);
        let warnings = self.duplicates(&sent, &options)?;
        let written = match self.subresource {
            Some(Subresource::Scale) => {
                let scale = registry.set_scale(&target, None, &sent.value, &options).await?;
                return Ok(encode::json(StatusCode::OK, scale.to_string().into(), &[]));
            }
            Some(Subresource::Finalize) => registry.finalize(&target, &sent.value, options.dry_run).await?,
            _ => registry.update(&target, &self.place.subresource, sent.value, &options).await?,
        };
        Ok(self.written(StatusCode::OK, written, warnings))
    }

    /// What is said of fields that the body has twice.
    fn duplicates(&self, sent: &Parsed, options: &WriteOptions) -> Result<Vec<String>, Error> {
        let sentences: Vec<String> = sent.duplicates.iter().map(|path| format!("duplicate field \"{path}\"")).collect();
        match options.field_validation {
            FieldValidation::Strict if !sentences.is_empty() => {
                let (kind, version) = (self.place.resource.kind, self.place.resource.version);
                let message = format!(
                    "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {}",
                    sentences.join(", ")
                );
                Err(Error::new(Reason::BadRequest, message))
            }
            FieldValidation::Ignore => Ok(Vec::new()),
            _ => Ok(sentences),
        }
    }

    async fn patch(&self, kind: PatchKind, sent: &Parsed) -> Result<Response, Error> {
        let (registry, target, options) = (&self.context.registry, self.place.target(), self.options()?);
        let warnings = self.duplicates(sent, &options)?;
        let patch = &sent.value;
        if self.subresource == Some(Subresource::Scale) {
            let scale = registry.set_scale(&target, Some(kind), patch, &options).await?;
            return Ok(encode::json(StatusCode::OK, scale.to_string().into(), &[]));
        }
        let written = registry.patch(&target, &self.place.subresource, kind, patch, &options).await?;
        Ok(self.written(StatusCode::OK, written, warnings))
    }

    async fn delete(&self, content_type: &str, body: &[u8]) -> Result<Response, Error> {
        let target = self.place.target();
        let (options, dry_run) = deletion::options(&self.parameters, content_type, body)?;
        let deleted = self.context.registry.delete(&target, &options, dry_run).await?;
        Ok(encode::json(StatusCode::OK, deleted.encode(&target), &[]))
    }

    async fn delete_collection(&self, content_type: &str, body: &[u8]) -> Result<Response, Error> {
        let Place { resource, namespace, .. } = &self.place;
        let (options, dry_run) = deletion::options(&self.parameters, content_type, body)?;
        let (which, wanted) = self.parameters.list()?;
        let registry = &self.context.registry;
        registry.reach(oldest(&which, wanted)).await?;
        let deleted = registry.delete_collection(resource, namespace.as_deref(), &which, &options, dry_run).await?;
        Ok(encode::page(registry, resource, deleted, self.form))
    }

    fn options(&self) -> Result<WriteOptions, Error> {
        let (dry_run, field_validation) = (self.parameters.dry_run()?, self.parameters.field_validation()?);
        Ok(WriteOptions { dry_run, field_validation, node: self.identity.node_name().map(Into::into) })
    }

    fn written(&self, status: StatusCode, written: Written, mut warnings: Vec<String>) -> Response {
        warnings.extend(written.warnings);
        self.object(status, &written.json, &warnings)
    }

    fn object(&self, status: StatusCode, json: &Bytes, warnings: &[String]) -> Response {
        let body = encode::object(&self.context.registry, self.place.resource, json, self.form);
        encode::json(status, body, warnings)
    }
}

/// The verb of a method at a place.
fn verb(method: &Method, place: &Place, parameters: &Parameters) -> Result<&'static str, Error> {
    let is_object = !place.name.is_empty();
    match *method {
        Method::GET | Method::HEAD if parameters.is_true("watch") => Ok("watch"),
        Method::GET | Method::HEAD => Ok(if is_object { "get" } else { "list" }),
        Method::POST if !is_object || !place.subresource.is_empty() => Ok("create"),
        Method::PUT if is_object => Ok("update"),
        Method::PATCH if is_object => Ok("patch"),
        Method::DELETE => Ok(if is_object { "delete" } else { "deletecollection" }),
        _ => Err(not_allowed()),
    }
}

/// An error where the place has no such verb.
fn check_verb(verb: &str, place: &Place, named: Option<Subresource>) -> Result<(), Error> {
    let resource = place.resource;
    let is_known = match named {
        Some(subresource) => discovery::verbs_of(subresource, resource).contains(&verb),
        None => discovery::verbs(resource).contains(&verb),
    };
    // Over all namespaces there is only reading.
    let has_namespace = place.namespace.is_some() || !resource.namespaced;
    if is_known && (has_namespace || matches!(verb, "list" | "watch")) { Ok(()) } else { Err(not_allowed()) }
}

pub(super) fn not_allowed() -> Error {
    Error::new(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource")
}
