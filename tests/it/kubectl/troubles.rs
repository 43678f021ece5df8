//! Pods that do not run: what `get` shows in one word, and what `describe`, events and statuses say of why.

use crate::verbs::Stage;

/// Pods by name; the rest of the line is their spec.
const PODS: &[(&str, &str)] = &[
    ("crash", "{containers: [{name: c, image: 'misbehave:v1', args: [exit, '1']}]}"),
    (
        "oom",
        "{restartPolicy: Never, containers: [{name: c, image: 'misbehave:v1', args: [hog], resources: {limits: {memory: 32Mi}}}]}",
    ),
    ("trap", "{restartPolicy: Never, containers: [{name: c, image: 'misbehave:v1', args: [trap]}]}"),
    ("never", "{containers: [{name: c, image: 'absent:v1', imagePullPolicy: Never}]}"),
    ("absent", "{containers: [{name: c, image: 'absent:v1'}]}"),
    ("badname", "{containers: [{name: c, image: 'BAD:v1'}]}"),
    ("config", "{containers: [{name: c, image: 'hello-http:v1', envFrom: [{configMapRef: {name: late}}]}]}"),
    (
        "mount",
        "{containers: [{name: c, image: 'hello-http:v1', volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, configMap: {name: late}}]}",
    ),
    (
        "init",
        "{initContainers: [{name: i, image: 'batch:v1', args: [sleep, '100000000']}], containers: [{name: c, image: 'hello-http:v1'}]}",
    ),
    (
        "initcrash",
        "{initContainers: [{name: i, image: 'misbehave:v1', args: [exit, '1']}], containers: [{name: c, image: 'hello-http:v1'}]}",
    ),
    (
        "half",
        "{containers: [{name: a, image: 'hello-http:v1'}, {name: b, image: 'batch:v1', args: [sleep, '100000000'], readinessProbe: {httpGet: {port: 9999}, periodSeconds: 1, failureThreshold: 1}}]}",
    ),
    (
        "dying",
        "{terminationGracePeriodSeconds: 1, containers: [{name: c, image: 'batch:v1', args: [sleep, '100000000'], livenessProbe: {tcpSocket: {port: 9999}, periodSeconds: 1, failureThreshold: 2}}]}",
    ),
    (
        "late",
        "{activeDeadlineSeconds: 1, terminationGracePeriodSeconds: 1, containers: [{name: c, image: 'batch:v1', args: [sleep, '100000000']}]}",
    ),
    ("toobig", "{containers: [{name: c, image: 'hello-http:v1', resources: {requests: {cpu: '1000'}}}]}"),
    ("nowhere", "{nodeSelector: {disk: none}, containers: [{name: c, image: 'hello-http:v1'}]}"),
];

pub fn scene(stage: &Stage<'_>) {
    let one = |(name, spec): &(&str, &str)| {
        format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {spec}\n")
    };
    stage.apply(&PODS.iter().map(one).collect::<String>());
    words(stage);
    reasons(stage);
    stage.script(&[
        ("create configmap late --from-literal a=b", &["created"]),
        // Both go on at once, without anybody's help.
        (
            "wait --for=condition=Ready pod/config pod/mount --timeout 60s",
            &["pod/config condition met", "pod/mount condition met"],
        ),
        ("set image pod/never c=hello-http:v1", &["pod/never image updated"]),
        ("wait --for=condition=Ready pod/never --timeout 60s", &["met"]),
    ]);
}

/// One word each.
fn words(stage: &Stage<'_>) {
    stage.script(&[
        ("~ get pod crash", &["0/1     CrashLoopBackOff   1 ("]),
        ("~ get pod oom", &["0/1     OOMKilled   0  "]),
        ("~ get pod trap", &["0/1     Error    0  "]),
        ("~ get pod never", &["ErrImageNeverPull"]),
        ("~ get pod absent", &["ImagePullBackOff"]),
        ("~ get pod badname", &["InvalidImageName"]),
        ("~ get pod config", &["CreateContainerConfigError"]),
        ("~ get pod mount", &["ContainerCreating"]),
        ("~ get pod init", &["0/1     Init:0/1"]),
        ("~ get pod initcrash", &["Init:CrashLoopBackOff"]),
        ("~ get pod half", &["1/2     Running"]),
        ("~ get pod dying -o jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}", &["137"]),
        ("~ get pod late -o jsonpath={.status.phase}:{.status.reason}", &["Failed:DeadlineExceeded"]),
        ("get pod toobig nowhere", &["Pending"]),
    ]);
}

/// Sentences.
fn reasons(stage: &Stage<'_>) {
    stage.script(&[
        (
            "describe pod crash",
            &[
                "Reason:       CrashLoopBackOff",
                "Last State:     Terminated",
                "Exit Code:    1",
                "Back-off restarting failed container c in pod crash_troubles(",
            ],
        ),
        (
            "get pod crash -o jsonpath={.status.containerStatuses[0].state.waiting.message}",
            &["s restarting failed container=c pod=crash_troubles("],
        ),
        (
            "get pod oom -o jsonpath={.status.phase}:{.status.containerStatuses[0].state.terminated.exitCode}",
            &["Failed:137"],
        ),
        ("get pod trap -o jsonpath={.status.containerStatuses[0].state.terminated.message}", &["wasm trap"]),
        (
            "describe pod never",
            &["Container image \"absent:v1\" is not present with pull policy of Never", "Error: ErrImageNeverPull"],
        ),
        (
            "describe pod absent",
            &[
                "Failed to pull image \"absent:v1\"",
                "Error: ErrImagePull",
                "Back-off pulling image \"absent:v1\"",
                "Error: ImagePullBackOff",
            ],
        ),
        ("describe pod badname", &["InspectFailed", "Error: InvalidImageName"]),
        ("describe pod config", &["Error: configmap \"late\" not found"]),
        (
            "get pod config -o jsonpath={.status.containerStatuses[0].state.waiting.message}",
            &["configmap \"late\" not found"],
        ),
        ("~ events --for pod/mount", &["MountVolume.SetUp failed for volume \"v\" : configmap \"late\" not found"]),
        (
            "get pod init -o 'jsonpath={.status.conditions[?(@.type==\"Initialized\")].message}'",
            &["containers with incomplete status: [i]"],
        ),
        ("get pod init -o jsonpath={.status.containerStatuses[0].state.waiting.reason}", &["PodInitializing"]),
        ("! logs init", &["(BadRequest): container \"c\" in pod \"init\" is waiting to start: PodInitializing"]),
        ("! logs absent", &["is waiting to start: trying and failing to pull image"]),
        (
            "get pod half -o 'jsonpath={.status.conditions[?(@.type==\"Ready\")].message}'",
            &["containers with unready status: [b]"],
        ),
        (
            "~ describe pod half",
            &[
                "Readiness probe failed: Get \"http://10.128.",
                ":9999/\": dial tcp 10.128.",
                "connect: connection refused",
                "(x",
            ],
        ),
        (
            "~ describe pod dying",
            &["Liveness probe failed: dial tcp", "Container c failed liveness probe, will be restarted"],
        ),
        ("describe pod toobig", &["FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu"]),
        ("describe pod nowhere", &["didn't match Pod's node affinity/selector"]),
        ("get pod toobig -o 'jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].reason}'", &["Unschedulable"]),
    ]);
}
