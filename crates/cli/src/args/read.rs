//! Flags of the verbs that only look.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::{ChosenArgs, ClusterArgs, duration};
use crate::template::{Columns, Path, Template};
use crate::wait::Goal;

/// How objects are printed.
#[derive(Clone, Debug, Default)]
pub enum Output {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// `kind/name` lines.
    Name,
    /// What a template makes of them.
    JsonPath(Arc<Template>),
    /// A table with columns of one's own.
    Columns(Arc<Columns>),
}

impl Output {
    /// Reads what stands after `-o`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (word, more) = text.split_once('=').unwrap_or((text, ""));
        match (word, more) {
            ("wide", "") => Ok(Self::Wide),
            ("yaml", "") => Ok(Self::Yaml),
            ("json", "") => Ok(Self::Json),
            ("name", "") => Ok(Self::Name),
            ("jsonpath", template) if !template.is_empty() => Ok(Self::JsonPath(Arc::new(Template::parse(template)?))),
            ("custom-columns", columns) if !columns.is_empty() => Ok(Self::Columns(Arc::new(Columns::parse(columns)?))),
            _ => Err("write wide, yaml, json, name, jsonpath={.metadata.name} or custom-columns=NAME:.metadata.name"
                .to_owned()),
        }
    }
}

/// Flags of `get`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  wherry get pods -A -o wide\n  wherry get deploy/myapp -o yaml\n  wherry get pods -w\n  \
    wherry get pods --sort-by .metadata.creationTimestamp -o custom-columns=NAME:.metadata.name,IP:.status.podIP"
)]
pub struct GetArgs {
    /// RESOURCE, RESOURCE NAME… or RESOURCE/NAME…; several resources as `pods,svc`, `all` for those that run apps
    #[arg(required = true, num_args = 1..)]
    pub what: Vec<String>,
    /// Over all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// A label selector, such as app=web,tier!=test
    #[arg(short = 'l', long, default_value = "")]
    pub selector: String,
    /// A field selector, such as status.phase=Running
    #[arg(long, default_value = "")]
    pub field_selector: String,
    /// wide, yaml, json, name, jsonpath=TEMPLATE or custom-columns=HEADING:PATH,…
    #[arg(short, long, value_parser = Output::parse)]
    pub output: Option<Output>,
    /// Sort by this field, such as .metadata.name
    #[arg(long, value_parser = Path::parse)]
    pub sort_by: Option<Path>,
    /// Go on and show what changes
    #[arg(short, long)]
    pub watch: bool,
    /// A column for each of these labels
    #[arg(short = 'L', long, value_delimiter = ',')]
    pub label_columns: Vec<String>,
    /// Show the labels, too
    #[arg(long)]
    pub show_labels: bool,
    /// No headings
    #[arg(long)]
    pub no_headers: bool,
    /// It is no error if a named object does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `describe`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  wherry describe pod web-1\n  wherry describe deploy -l app=web\n  wherry describe nodes"
)]
pub struct DescribeArgs {
    /// RESOURCE, RESOURCE NAME… or RESOURCE/NAME…
    #[arg(required = true, num_args = 1..)]
    pub what: Vec<String>,
    /// Over all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// A label selector
    #[arg(short = 'l', long, default_value = "")]
    pub selector: String,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `logs`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  wherry logs -f myapp-6f4c-x7k2p -c log\n  wherry logs deploy/myapp --since 5m\n  \
    wherry logs -l app=web --all-containers --prefix"
)]
pub struct LogsArgs {
    /// The pod, or deployment/NAME and so on for one of its pods
    #[arg(required_unless_present = "selector")]
    pub what: Option<String>,
    /// The container (else the pod's default one)
    #[arg(short, long)]
    pub container: Option<String>,
    /// All pods with these labels
    #[arg(short = 'l', long, conflicts_with = "what")]
    pub selector: Option<String>,
    /// All containers of the pod
    #[arg(long, conflicts_with = "container")]
    pub all_containers: bool,
    /// Pod and container before each line
    #[arg(long)]
    pub prefix: bool,
    /// Go on until the container ends
    #[arg(short, long)]
    pub follow: bool,
    /// The container before its last restart
    #[arg(short, long)]
    pub previous: bool,
    /// Only this many lines, from the end; -1 for all (else all, or 10 with a selector)
    #[arg(long, allow_hyphen_values = true)]
    pub tail: Option<i64>,
    /// Only what is younger, such as 5m
    #[arg(long, value_parser = duration)]
    pub since: Option<Duration>,
    /// Only what is younger than this time (RFC 3339)
    #[arg(long, conflicts_with = "since")]
    pub since_time: Option<jiff::Timestamp>,
    /// Only this many bytes of each container
    #[arg(long)]
    pub limit_bytes: Option<u64>,
    /// The time of each line
    #[arg(long)]
    pub timestamps: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `events`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  wherry events --for pod/web-1\n  wherry events -A --types Warning -w")]
pub struct EventsArgs {
    /// Over all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only those of this object, RESOURCE/NAME
    #[arg(long = "for", value_name = "RESOURCE/NAME")]
    pub about: Option<String>,
    /// Only these types, such as Warning
    #[arg(long, value_delimiter = ',')]
    pub types: Vec<String>,
    /// Go on and show what happens
    #[arg(short, long)]
    pub watch: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `wait`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  wherry wait --for condition=Ready pod -l app=web --timeout 60s\n  \
    wherry wait --for jsonpath={.status.phase}=Succeeded pod/job\n  wherry wait --for delete pod/job")]
pub struct WaitArgs {
    /// RESOURCE NAME… or RESOURCE/NAME…; RESOURCE with -l or --all
    #[arg(required = true, num_args = 1..)]
    pub what: Vec<String>,
    /// condition=TYPE, condition=TYPE=STATUS, jsonpath={PATH}=VALUE, create or delete
    #[arg(long = "for", value_name = "GOAL", value_parser = Goal::parse)]
    pub goal: Goal,
    /// How long at most
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// Which objects.
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

/// Flags of `api-resources`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  wherry api-resources --namespaced=false -o name")]
pub struct ApiResourcesArgs {
    /// Only those that live in namespaces, or with =false only those that do not
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub namespaced: Option<bool>,
    /// Only those of this group
    #[arg(long)]
    pub api_group: Option<String>,
    /// Only those that have these verbs, such as list,watch
    #[arg(long, value_delimiter = ',')]
    pub verbs: Vec<String>,
    /// wide or name
    #[arg(short, long, value_parser = Output::parse)]
    pub output: Option<Output>,
    /// No headings
    #[arg(long)]
    pub no_headers: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `explain`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  wherry explain pod.spec.containers\n  wherry explain ingress.spec --recursive")]
pub struct ExplainArgs {
    /// RESOURCE or RESOURCE.FIELD…
    pub what: String,
    /// All fields below, by name and type only
    #[arg(long)]
    pub recursive: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}
