//! Methods of HTTP as verbs of the registry.

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Value, json};
use wherry_api::resource::Subresource;
use wherry_api::{Error, Reason, protobuf, yaml};
use wherry_client::{DeleteOptions, PatchKind, Precondition, Propagation};

use super::encode::{self, Form};
use super::parameters::Parameters;
use super::path::Place;
use super::{BODY_BYTES_MAX, Context, logs, watch};
use crate::authorize::{Attributes, authorize};
use crate::identity::Identity;
use crate::registry::{WriteOptions, Written, named_subresource};

/// A request to a resource, taken apart.
struct Call<'a> {
    context: &'a Context,
    place: Place,
    subresource: Option<Subresource>,
    parameters: Parameters,
    form: Form,
    manager: String,
}

/// Authorizes and carries out a request to a resource.
pub(super) async fn carry_out(
    context: &Context,
    identity: &Identity,
    place: Place,
    request: Request,
) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let parameters = Parameters::parse(query);
    let verb = verb(&parts.method, &place, &parameters)?;
    let Place { resource, subresource, namespace, name, .. } = &place;
    authorize(identity, &Attributes { verb, resource, subresource, namespace: namespace.as_deref(), name })?;
    let named = named_subresource(&place.target(), &place.subresource)?;
    let form = Form::of(&parts.headers, parameters.get("includeObject"));
    let manager = manager(&parameters, &parts.headers);
    let call = Call { context, place, subresource: named, parameters, form, manager };
    match verb {
        "get" if named == Some(Subresource::Log) => call.log(query).await,
        "get" => call.get(),
        "list" => call.list(),
        "watch" => watch::answer(context, &call.place, &call.parameters, form),
        _ => {
            let body = read(body).await?;
            call.write(verb, &parts.headers, &body).await
        }
    }
}

impl Call<'_> {
    fn get(&self) -> Result<Response, Error> {
        let target = self.place.target();
        let registry = &self.context.registry;
        if self.subresource == Some(Subresource::Scale) {
            return Ok(encode::json(StatusCode::OK, registry.scale(&target)?.to_string().into(), &[]));
        }
        Ok(self.object(StatusCode::OK, &registry.get(&target)?, &[]))
    }

    fn list(&self) -> Result<Response, Error> {
        let Place { resource, namespace, .. } = &self.place;
        let page = self.context.registry.list(resource, namespace.as_deref(), &self.parameters.list()?)?;
        let body = encode::page(&self.context.registry, resource, &page, self.form);
        Ok(encode::json(StatusCode::OK, body, &[]))
    }

    async fn log(&self, query: &str) -> Result<Response, Error> {
        logs::answer(self.context, &self.place.target(), query, self.parameters.get("container")).await
    }

    async fn write(&self, verb: &str, headers: &HeaderMap, body: &[u8]) -> Result<Response, Error> {
        let content_type = content_type(headers);
        match verb {
            "create" => self.create(&decode(&content_type, body)?).await,
            "update" => self.update(decode(&content_type, body)?).await,
            "patch" => self.patch(patch_kind(&content_type)?, &decode_patch(body)?).await,
            "delete" => self.delete(&content_type, body).await,
            _ => self.delete_collection(&content_type, body).await,
        }
    }

    async fn create(&self, object: &Value) -> Result<Response, Error> {
        let Place { resource, namespace, .. } = &self.place;
        let registry = &self.context.registry;
        if let Some(subresource) = self.subresource {
            let json = registry.post(&self.place.target(), subresource, object).await?;
            return Ok(encode::json(StatusCode::CREATED, json, &[]));
        }
        let written = registry.create(resource, namespace.as_deref(), object.clone(), &self.options()?).await?;
        Ok(self.written(StatusCode::CREATED, &written))
    }

    async fn update(&self, object: Value) -> Result<Response, Error> {
        let (registry, target, options) = (&self.context.registry, self.place.target(), self.options()?);
        let written = match self.subresource {
            Some(Subresource::Scale) => {
                let scale = registry.set_scale(&target, None, &object, &options).await?;
                return Ok(encode::json(StatusCode::OK, scale.to_string().into(), &[]));
            }
            Some(Subresource::Finalize) => registry.finalize(&target, &object).await?,
            _ => registry.update(&target, &self.place.subresource, object, &options).await?,
        };
        Ok(self.written(StatusCode::OK, &written))
    }

    async fn patch(&self, kind: PatchKind, patch: &Value) -> Result<Response, Error> {
        let (registry, target, options) = (&self.context.registry, self.place.target(), self.options()?);
        if self.subresource == Some(Subresource::Scale) {
            let scale = registry.set_scale(&target, Some(kind), patch, &options).await?;
            return Ok(encode::json(StatusCode::OK, scale.to_string().into(), &[]));
        }
        let written = registry.patch(&target, &self.place.subresource, kind, patch, &options).await?;
        Ok(self.written(StatusCode::OK, &written))
    }

    async fn delete(&self, content_type: &str, body: &[u8]) -> Result<Response, Error> {
        let target = self.place.target();
        let options = delete_options(&self.parameters, &decode_optional(content_type, body)?)?;
        let deleted = self.context.registry.delete(&target, &options, self.parameters.dry_run()?).await?;
        Ok(encode::json(StatusCode::OK, deleted.encode(&target), &[]))
    }

    async fn delete_collection(&self, content_type: &str, body: &[u8]) -> Result<Response, Error> {
        let Place { resource, namespace, .. } = &self.place;
        let options = delete_options(&self.parameters, &decode_optional(content_type, body)?)?;
        let (which, dry_run) = (self.parameters.list()?, self.parameters.dry_run()?);
        let registry = &self.context.registry;
        registry.delete_collection(resource, namespace.as_deref(), &which, &options, dry_run).await?;
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
        Ok(encode::json(StatusCode::OK, status.to_string().into(), &[]))
    }

    fn options(&self) -> Result<WriteOptions, Error> {
        Ok(WriteOptions {
            dry_run: self.parameters.dry_run()?,
            field_validation: self.parameters.field_validation()?,
            manager: self.manager.clone(),
        })
    }

    fn written(&self, status: StatusCode, written: &Written) -> Response {
        self.object(status, &written.json, &written.warnings)
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
        _ => {
            Err(Error::new(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource"))
        }
    }
}

/// Who writes: what the client says, or the first word of its user agent.
fn manager(parameters: &Parameters, headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("unknown");
    match parameters.get("fieldManager") {
        "" => agent.split('/').next().unwrap_or_default().to_owned(),
        manager => manager.to_owned(),
    }
}

async fn read(body: axum::body::Body) -> Result<Bytes, Error> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let message = format!("Request entity too large: limit is {BODY_BYTES_MAX}");
            Err(Error::new(Reason::RequestEntityTooLarge, message))
        }
        Err(error) => Err(Error::new(Reason::BadRequest, format!("the body cannot be read: {error}"))),
    }
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    value.split(';').next().unwrap_or_default().trim().to_owned()
}

fn decode(content_type: &str, body: &[u8]) -> Result<Value, Error> {
    let bad = |why: String| Error::new(Reason::BadRequest, format!("the body of the request cannot be read: {why}"));
    match content_type {
        "application/json" | "" | "*/*" => serde_json::from_slice(body).map_err(|e| bad(e.to_string())),
        "application/vnd.kubernetes.protobuf" => protobuf::to_json(body).map_err(bad),
        "application/yaml" => {
            let text = std::str::from_utf8(body).map_err(|e| bad(e.to_string()))?;
            let documents = yaml::parse(text).map_err(|e| bad(e.to_string()))?;
            documents.into_iter().next().ok_or_else(|| bad("it is empty".into()))
        }
        other => Err(unsupported(other, "application/json, application/yaml, application/vnd.kubernetes.protobuf")),
    }
}

fn decode_optional(content_type: &str, body: &[u8]) -> Result<Value, Error> {
    if body.is_empty() { Ok(Value::Null) } else { decode(content_type, body) }
}

fn decode_patch(body: &[u8]) -> Result<Value, Error> {
    let text = std::str::from_utf8(body).map_err(|e| Error::new(Reason::BadRequest, e.to_string()))?;
    serde_json::from_str(text).map_err(|e| Error::new(Reason::BadRequest, format!("the patch cannot be read: {e}")))
}

fn patch_kind(content_type: &str) -> Result<PatchKind, Error> {
    match content_type {
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchKind::Strategic),
        "application/apply-patch+yaml" => Err(Error::new(
            Reason::UnsupportedMediaType,
            "server-side apply is not served yet; apply on the client's side (kubectl apply without --server-side)",
        )),
        other => Err(unsupported(
            other,
            "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
        )),
    }
}

fn unsupported(content_type: &str, known: &str) -> Error {
    let message = format!(
        "the body of the request was in an unknown format ({content_type}) - accepted media types include: {known}"
    );
    Error::new(Reason::UnsupportedMediaType, message)
}

/// `DeleteOptions` of the body; the query's own count where the body has none.
fn delete_options(parameters: &Parameters, body: &Value) -> Result<DeleteOptions, Error> {
    let text = |pointer| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let seconds = body.get("gracePeriodSeconds").and_then(Value::as_i64);
    let asked = parameters.number("gracePeriodSeconds")?.and_then(|s| i64::try_from(s).ok());
    let policy = Some(text("/propagationPolicy")).filter(|p| !p.is_empty());
    let propagation = match policy.unwrap_or_else(|| parameters.get("propagationPolicy").to_owned()).as_str() {
        "" | "Background" => Propagation::Background,
        "Foreground" => Propagation::Foreground,
        "Orphan" => Propagation::Orphan,
        other => {
            let message = format!(
                "propagationPolicy: Unsupported value: \"{other}\": supported values: \"Foreground\", \"Background\", \"Orphan\""
            );
            return Err(Error::new(Reason::BadRequest, message));
        }
    };
    let precondition =
        Precondition { uid: text("/preconditions/uid"), resource_version: text("/preconditions/resourceVersion") };
    Ok(DeleteOptions { grace_period_seconds: seconds.or(asked), propagation, precondition })
}
