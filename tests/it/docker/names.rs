//! What a pod's containers find in files that the node gives them: names of the pod's own, and where last words go.

use super::*;

#[test]
fn a_pod_has_names_of_its_own_and_last_words() {
    let Some(engine) = Engine::start("a_pod_has_names_of_its_own_and_last_words") else { return };
    let cluster = cluster(&engine);
    cluster.load_guest("call-service").unwrap();
    cluster.apply("default", include_str!("names.yaml")).unwrap();
    run(
        &cluster,
        &[
            (
                "~ logs aliased -c reads",
                &["127.0.0.1\tinside.example", "127.0.0.1\talso", "192.0.2.7\toutside.example"],
            ),
            ("~ logs aliased -c calls", &["inside.example:9000 answered: hello"]),
            ("~ get pod words -o jsonpath={.status.phase}", &["Failed"]),
            ("get pod words -o jsonpath={.status.containerStatuses[*].state.terminated.message}", &["last words"]),
            ("get pod words -o jsonpath={.status.containerStatuses[*].state.terminated.message}", &["noted"]),
            ("get pod words -o jsonpath={.status.containerStatuses[*].state.terminated.message}", &["only printed"]),
            ("logs words -c own", &["/bin/cat"]),
        ],
    );
}
