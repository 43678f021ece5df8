//! `exec` and `attach`: a process in a container, coupled with the terminal or the pipes of who typed.

use anyhow::{Context, bail};
use http::Method;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use wherry_client::{Https, escape};
use wherry_streaming::remote_command::{Asked, Outcome, PROTOCOLS, Wanted, open};
use wherry_streaming::{BoxWriter, request_headers, spdy};

use crate::args::{AttachArgs, ClusterArgs, ExecArgs};
use crate::objects::text;
use crate::pods::{default_container, one_pod};
use crate::terminal::{self, Raw};

/// Runs a program in a container, and ends with its exit code.
pub async fn exec(ExecArgs { at, command }: ExecArgs) -> anyhow::Result<()> {
    let pod = one_pod(&at.cluster.client()?, &at.cluster.namespace, &at.what).await?;
    let phase = text(&pod, "/status/phase");
    if matches!(phase, "Succeeded" | "Failed") {
        bail!("cannot exec into a container in a completed pod; current phase is {phase}");
    }
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let path = exec_path(&at.cluster, &pod, at.container.as_deref(), wanted(&at), &words)?;
    let outcome = Session { wanted: wanted(&at), quiet: at.quiet }.run(&at.cluster, &path).await?;
    match outcome {
        Outcome::Exited(0) => end(0),
        Outcome::Exited(code) => {
            eprintln!("command terminated with exit code {code}");
            end(code)
        }
        Outcome::Failed(message) => bail!(message),
    }
}

/// Joins a container's own process, until it ends.
pub async fn attach(args: AttachArgs) -> anyhow::Result<()> {
    let pod = one_pod(&args.cluster.client()?, &args.cluster.namespace, &args.what).await?;
    let path = path(&args.cluster, &pod, "attach", args.container.as_deref(), wanted(&args))?;
    match (Session { wanted: wanted(&args), quiet: args.quiet }).run(&args.cluster, &path).await? {
        Outcome::Exited(_) => end(0),
        Outcome::Failed(message) => bail!(message),
    }
}

/// A terminal has no stderr of its own.
const fn wanted(args: &AttachArgs) -> Wanted {
    Wanted { stdin: args.stdin, stdout: true, stderr: !args.tty, tty: args.tty }
}

/// Ends the program: a read of stdin that nobody ends by a key would hold it.
fn end(code: i32) -> ! {
    std::process::exit(code)
}

/// Where a program is run in a container.
pub fn exec_path(
    cluster: &ClusterArgs,
    pod: &Value,
    container: Option<&str>,
    wanted: Wanted,
    words: &[&str],
) -> anyhow::Result<String> {
    let words: String = words.iter().map(|word| format!("&command={}", escape(word))).collect();
    Ok(path(cluster, pod, "exec", container, wanted)? + &words)
}

fn path(
    cluster: &ClusterArgs,
    pod: &Value,
    verb: &str,
    container: Option<&str>,
    wanted: Wanted,
) -> anyhow::Result<String> {
    let container = container.map_or_else(|| default_container(pod, true), |name| Ok(name.to_owned()))?;
    let Wanted { stdin, stdout, stderr, tty } = wanted;
    let (namespace, name) = (&cluster.namespace, text(pod, "/metadata/name"));
    let streams = format!("stdin={stdin}&stdout={stdout}&stderr={stderr}&tty={tty}");
    Ok(format!("/api/v1/namespaces/{namespace}/pods/{name}/{verb}?container={container}&{streams}"))
}

/// What a remote command is coupled with.
pub struct Session {
    /// Which streams.
    pub wanted: Wanted,
    /// Says nothing of its own.
    pub quiet: bool,
}

impl Session {
    /// Runs the remote command of that path with this program's own streams.
    pub async fn run(&self, cluster: &ClusterArgs, path: &str) -> anyhow::Result<Outcome> {
        let raw = if self.wanted.tty && self.wanted.stdin { Raw::set().context("the terminal")? } else { None };
        if raw.is_some() && !self.quiet {
            eprint!("If you don't see a command prompt, try pressing enter.\r\n");
        }
        let outcome = self.carry(cluster, path, (tokio::io::stdin(), tokio::io::stdout())).await;
        drop(raw);
        outcome
    }

    /// Runs it with these for stdin and stdout.
    pub async fn carry<I, O>(&self, cluster: &ClusterArgs, path: &str, ends: (I, O)) -> anyhow::Result<Outcome>
    where
        I: AsyncRead + Unpin,
        O: AsyncWrite + Unpin,
    {
        let https = Https::new(&cluster.load()?)?;
        let [_, protocol] = PROTOCOLS;
        let upgraded = https.upgrade(Method::POST, path, request_headers(protocol)).await?;
        let (connection, driver) = spdy::client(upgraded.io);
        let mut coupled = std::pin::pin!(async { couple(open(&connection, self.wanted).await?, ends).await });
        let outcome = tokio::select! {
            outcome = coupled.as_mut() => outcome,
            // What was said before the end is there to be heard.
            () = driver => coupled.await,
        };
        outcome.context("lost connection to pod")
    }
}

async fn couple<I, O>(asked: Asked, (mut input, mut output): (I, O)) -> std::io::Result<Outcome>
where
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin,
{
    let Asked { stdin, stdout, stderr, sizes, error } = asked;
    let typing = async {
        if let Some(mut stdin) = stdin {
            // The process may end first.
            let _ended = tokio::io::copy(&mut input, &mut stdin).await;
            let _ended = stdin.shutdown().await;
        }
        std::future::pending::<()>().await;
    };
    let hearing = async {
        let out = async {
            if let Some(mut stdout) = stdout {
                tokio::io::copy(&mut stdout, &mut output).await?;
            }
            output.flush().await
        };
        let err = async {
            let mut output = tokio::io::stderr();
            if let Some(mut stderr) = stderr {
                tokio::io::copy(&mut stderr, &mut output).await?;
            }
            output.flush().await
        };
        let (outcome, printed) = futures::join!(Outcome::hear(error), async { tokio::try_join!(out, err) });
        printed.map(|_| outcome)
    };
    tokio::select! {
        outcome = hearing => outcome,
        () = typing => Ok(Outcome::Exited(0)),
        () = resizing(sizes) => Ok(Outcome::Exited(0)),
    }
}

/// Tells each size that the terminal takes; never ends.
async fn resizing(sizes: Option<BoxWriter>) {
    if let (Some(mut sizes), Ok(mut changes)) = (sizes, signal(SignalKind::window_change())) {
        let mut told = Ok(());
        while told.is_ok() {
            if let Some(size) = terminal::size() {
                told = size.tell(&mut sizes).await;
            }
            changes.recv().await;
        }
    }
    std::future::pending().await
}
