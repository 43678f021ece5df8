//! Objects that several tests need, and waiting for them.

use k8s_openapi::api::discovery::v1::EndpointConditions;
use wherry_api::kinds::EndpointSlice;
use wherry_client::ListOptions;
use wherry_tests::{Cluster, until};

/// A pod of `hello-http` that greets as `name`, and a Service of that name at port 80.
pub fn web(name: &str) -> String {
    let pod = format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  containers:
    - name: web
      image: hello-http:v1
      env: [{{name: POD_NAME, value: {name}}}]
      ports: [{{name: http, containerPort: 8080}}]
"
    );
    pod + &service(name, 8080)
}

/// A Service at port 80 of the pods that are labelled with its name.
pub fn service(name: &str, target_port: u16) -> String {
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: {target_port}}}]}}
"
    )
}

/// An Ingress whose rules are lines of `HOST PATH TYPE SERVICE`; `-` is no host.
pub fn ingress(name: &str, rules: &str, more: &str) -> String {
    let rule = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [host, path, kind, service] = words.as_slice() else { panic!("no rule: {line}") };
        let host = if *host == "-" { String::new() } else { format!("host: '{host}', ") };
        let backend = format!("backend: {{service: {{name: {service}, port: {{number: 80}}}}}}");
        format!("    - {{{host}http: {{paths: [{{path: '{path}', pathType: {kind}, {backend}}}]}}}}\n")
    };
    let rules: String = rules.lines().filter(|line| !line.trim().is_empty()).map(rule).collect();
    let rules = if rules.is_empty() { rules } else { format!("  rules:\n{rules}") };
    format!(
        "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:
  ingressClassName: wherry
{rules}{more}"
    )
}

/// Waits until a Service has so many ready endpoints.
pub fn endpoints_ready(cluster: &Cluster, namespace: &str, service: &str, count: usize) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let api = cluster.client().unwrap().namespaced::<EndpointSlice>(namespace);
    let labels = format!("kubernetes.io/service-name={service}");
    until(&format!("{service} has {count} endpoints"), || {
        let list = runtime.block_on(api.list(ListOptions { labels: labels.clone(), ..ListOptions::default() }))?;
        let endpoints = list.items.iter().flat_map(|slice| &slice.endpoints).flatten();
        let ready = |conditions: &EndpointConditions| conditions.ready == Some(true);
        let ready = endpoints.filter(|endpoint| endpoint.conditions.as_ref().is_some_and(ready));
        Ok((ready.count() == count).then_some(()))
    })
    .unwrap();
}
