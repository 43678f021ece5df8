//! Faults of CertificateSigningRequests. Follows `k8s.io/kubernetes/pkg/apis/certificates/validation`, but for the request
//! itself, which is read by whoever signs it.

use crate::kinds::CertificateSigningRequest;
use crate::validate::names;
use crate::validate::path::{Faults, Path};

/// What a request must begin with (RFC 7468).
const PEM_BEGIN: &[u8] = b"-----BEGIN CERTIFICATE REQUEST-----";
/// Kubernetes' own limit.
const EXPIRATION_SECONDS_MIN: i32 = 600;

pub(crate) fn request(request: &CertificateSigningRequest, faults: &mut Faults) {
    let at = Path::Root("spec");
    let spec = &request.spec;
    if !spec.request.0.trim_ascii_start().starts_with(PEM_BEGIN) {
        let shown = String::from_utf8_lossy(&spec.request.0);
        faults.invalid(&at.field("request"), shown, "PEM block type must be CERTIFICATE REQUEST");
    }
    if spec.usages.iter().flatten().next().is_none() {
        faults.required(&at.field("usages"), "");
    }
    if spec.signer_name.is_empty() {
        faults.required(&at.field("signerName"), "");
    } else {
        faults.all(&at.field("signerName"), spec.signer_name.as_str(), names::qualified_name(&spec.signer_name));
    }
    if let Some(seconds) = spec.expiration_seconds.filter(|seconds| *seconds < EXPIRATION_SECONDS_MIN) {
        faults.invalid(
            &at.field("expirationSeconds"),
            seconds,
            "may not specify a duration less than 600 seconds (10 minutes)",
        );
    }
}

pub(crate) fn request_update(
    request: &CertificateSigningRequest,
    old: &CertificateSigningRequest,
    faults: &mut Faults,
) {
    faults.immutable(&Path::Root("spec"), &request.spec, &old.spec);
}
