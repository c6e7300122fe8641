//! What the programs of a node are told: addresses, who they are to the API server, files of settings. Texts only; nothing here
//! starts or writes.

use std::path::Path;

use serde_json::{Value, json};

/// Nobody outside of the node's own network sees these.
pub const NODE_ADDRESS: &str = "10.203.0.2";
pub const GATEWAY: &str = "10.203.0.1";
pub const NODE_NAME: &str = "node";
const PODS: &str = "10.204.0.0/24";
const SERVICES: &str = "10.205.0.0/24";
/// checks/cluster/node.yaml gives it to CoreDNS.
const NAME_SERVER: &str = "10.205.0.10";
const ETCD: [&str; 2] = ["http://127.0.0.1:2379", "http://127.0.0.1:2380"];
/// pause and CoreDNS (checks/containers/node).
pub const NODE_IMAGE: &str = "localhost/telex-stand-in/node:1";
/// The step `keda` of .ci/try-cluster names both.
pub const KEDA_IMAGE: &str = "localhost/telex-stand-in/keda:1";
pub const PROMETHEUS_IMAGE: &str = "localhost/telex-stand-in/prometheus:1";
/// Who the API server is to a server behind it (KEDA's metrics), by a certificate of an authority for that alone.
pub const PROXY: [&str; 2] = ["front-proxy-ca", "front-proxy-client"];

/// Somebody the API server knows: the name of a file, a user and a group. The token is the file's name: only pods could ask, and
/// the policies are there to keep them away.
pub const IDENTITIES: [(&str, &str, &str); 5] = [
    ("admin", "admin", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("kubelet", "system:node:node", "system:nodes"),
    ("proxy", "system:kube-proxy", ""),
];

pub fn tokens() -> String {
    let line = |(file, user, group): &(&str, &str, &str)| match *group {
        "" => format!("{file},{user},{file}\n"),
        group => format!("{file},{user},{file},\"{group}\"\n"),
    };
    IDENTITIES.iter().map(line).collect()
}

/// The settings of a client of the API server.
pub fn kubeconfig(identity: &str, certificate: &Path) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "node",
        "clusters": [{"name": "node", "cluster": {
            "server": format!("https://{NODE_ADDRESS}:6443"), "certificate-authority": certificate,
        }}],
        "users": [{"name": identity, "user": {"token": identity}}],
        "contexts": [{"name": "node", "context": {"cluster": "node", "user": identity}}],
    })
    .to_string()
}

pub fn etcd() -> [String; 7] {
    crate::cluster::control_plane::etcd_arguments(ETCD[0], ETCD[1])
}

pub fn api_server(directory: &Path) -> Vec<String> {
    let in_directory = |name: &str| directory.join(name).display().to_string();
    let key = in_directory("pki/apiserver.key");
    vec![
        format!("--etcd-servers={}", ETCD[0]),
        format!("--advertise-address={NODE_ADDRESS}"),
        "--bind-address=0.0.0.0".to_owned(),
        "--secure-port=6443".to_owned(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--token-auth-file={}", in_directory("tokens.csv")),
        // It makes the certificate of its port and the key itself.
        format!("--cert-dir={}", in_directory("pki")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={key}"),
        format!("--service-account-signing-key-file={key}"),
        format!("--requestheader-client-ca-file={}", in_directory(&format!("pki/{}.crt", PROXY[0]))),
        format!("--requestheader-allowed-names={}", PROXY[1]),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        format!("--proxy-client-cert-file={}", in_directory(&format!("pki/{}.crt", PROXY[1]))),
        format!("--proxy-client-key-file={}", in_directory(&format!("pki/{}.key", PROXY[1]))),
        // It asks the pods themselves: no address of a Service leads anywhere before kube-proxy runs.
        "--enable-aggregator-routing=true".to_owned(),
    ]
}

pub fn controller_manager(directory: &Path) -> Vec<String> {
    let in_directory = |name: &str| directory.join(name).display().to_string();
    let mut arguments = as_somebody(directory, "controller-manager");
    arguments.extend([
        "--use-service-account-credentials=true".to_owned(),
        format!("--service-account-private-key-file={}", in_directory("pki/apiserver.key")),
        format!("--root-ca-file={}", in_directory("pki/apiserver.crt")),
        "--allocate-node-cidrs=true".to_owned(),
        format!("--cluster-cidr={PODS}"),
        "--node-cidr-mask-size=24".to_owned(),
        format!("--service-cluster-ip-range={SERVICES}"),
        // Three times as often as it comes: a try does not wait for what it has seen.
        "--horizontal-pod-autoscaler-sync-period=5s".to_owned(),
    ]);
    arguments
}

pub fn scheduler(directory: &Path) -> Vec<String> {
    as_somebody(directory, "scheduler")
}

/// One of each is there: nobody to elect among.
fn as_somebody(directory: &Path, identity: &str) -> Vec<String> {
    let config = directory.join(identity).display().to_string();
    let by = ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"];
    let mut arguments: Vec<String> = by.iter().map(|flag| format!("--{flag}={config}")).collect();
    arguments.push("--leader-elect=false".to_owned());
    arguments
}

pub fn kubelet(directory: &Path) -> Vec<String> {
    let in_directory = |name: &str| directory.join(name).display().to_string();
    vec![
        format!("--config={}", in_directory("kubelet.json")),
        format!("--kubeconfig={}", in_directory("kubelet")),
        format!("--root-dir={}", in_directory("kubelet-root")),
        format!("--cert-dir={}", in_directory("kubelet-pki")),
        format!("--hostname-override={NODE_NAME}"),
        format!("--node-ip={NODE_ADDRESS}"),
    ]
}

/// Kubelet's file. It lets anybody in: only the API server and the pods of a node that is here to be tried could ask.
pub fn kubelet_file(cgroup_root: &str) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDNS": [NAME_SERVER],
        "clusterDomain": "cluster.local",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_root,
        "failCgroupV1": false,
        "failSwapOn": false,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        // The machine is somebody's: neither its disk nor its memory is the node's to judge.
        "evictionHard": {
            "memory.available": "1Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "enforceNodeAllocatable": [],
        "resolvConf": "",
        // Where a machine has no CAP_SYS_RESOURCE, nothing can be lowered.
        "oomScoreAdj": 0,
    })
}

pub fn proxy(directory: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", directory.join("proxy").display()),
        "--proxy-mode=iptables".to_owned(),
        format!("--cluster-cidr={PODS}"),
        format!("--hostname-override={NODE_NAME}"),
        // The table is the machine's.
        "--conntrack-max-per-core=0".to_owned(),
        "--oom-score-adj=0".to_owned(),
    ]
}

/// kube-router as what enforces the policies, and nothing else of it.
pub fn policies(directory: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", directory.join("admin").display()),
        "--run-firewall=true".to_owned(),
        "--run-router=false".to_owned(),
        "--run-service-proxy=false".to_owned(),
        format!("--hostname-override={NODE_NAME}"),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--iptables-sync-period=30s".to_owned(),
    ]
}

/// The file of containerd, in its second version: Debian's and Ubuntu's read it.
pub fn containerd(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "version = 2
root = \"{directory}/containerd\"
[plugins.\"io.containerd.internal.v1.opt\"]
  path = \"{directory}/opt\"
[plugins.\"io.containerd.grpc.v1.cri\"]
  sandbox_image = \"{NODE_IMAGE}\"
  restrict_oom_score_adj = true
[plugins.\"io.containerd.grpc.v1.cri\".cni]
  bin_dir = \"/usr/lib/cni\"
  conf_dir = \"{directory}/cni\"
"
    )
}

/// The pods' network: one bridge.
pub fn network() -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "node",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "dataDir": "/run/cni",
                    "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}
