#!/usr/bin/env bash
# PID 1 of the node: its end is the end of everything in it. Started by node.py in fresh namespaces, with NODE (its directory),
# DISK (the size of its disk), PROGRAMS (the folder of Kubernetes' programs), ADDRESS, API_PORT, ISSUER, SERVICES.
set -u
cd "$NODE"

mount -t proc proc /proc
mkdir -p cgroup && mount --rbind /sys/fs/cgroup cgroup && mount -t sysfs sysfs /sys && mount --rbind cgroup /sys/fs/cgroup
umount -l cgroup
umount -l /sys/fs/cgroup/unified 2>/dev/null
mount --make-rshared / # only now: an umount above would reach the copy too
mount -t tmpfs -o mode=755 tmpfs /run # shims' sockets, runc's state, network namespaces, xtables.lock: the node's own
mkdir -p /run/netns /run/lock

# The node's own disk, so that it can fill up: what containerd and the kubelet store, logs of pods, and no more.
truncate -s "$DISK" disk.img
mkfs.ext4 -q -m 0 -O ^has_journal disk.img
mkdir -p disk && mount -o loop disk.img disk # the kernel gives the loop device back when this namespace ends
for path in containerd kubelet own; do
  mkdir -p "disk/$path" "$path"
  mount --bind "disk/$path" "$path"
done
for path in /var/log/pods /var/log/containers /var/lib/cni /var/lib/kubelet /usr/libexec/kubernetes; do
  mkdir -p "own$path" "$path"
  mount --bind "own$path" "$path"
done

# The kubelet wants these settings and would write them for the whole machine: it finds them, the kernel keeps its own.
setting() {
  mkdir -p "sysctl/${1%/*}"
  echo "$2" >"sysctl/$1"
  mount --bind "sysctl/$1" "/proc/sys/$1"
}
setting vm/overcommit_memory 1
setting vm/panic_on_oom 0
setting kernel/panic 10
setting kernel/panic_on_oops 1
setting kernel/keys/root_maxkeys 1000000
setting kernel/keys/root_maxbytes 25000000

ip link set lo up
while ! ip link show node1 >/dev/null 2>&1; do sleep 0.02; done
ip addr add "$ADDRESS/30" dev node1
ip link set node1 up
ip route add "$SERVICES" dev node1 src "$ADDRESS" # connect() to a ClusterIP needs a route before it is translated
sysctl -qw net.ipv4.ip_forward=1

keep() { # starts a program again when it ends, as systemd and the kubelet do: on a slow machine one may give up at its start
  while :; do
    "$@"
    sleep 0.2
  done
}
etcd --data-dir=etcd --listen-client-urls=http://127.0.0.1:22379 --advertise-client-urls=http://127.0.0.1:22379 \
  --listen-peer-urls=http://127.0.0.1:22380 --unsafe-no-fsync --log-level=error >log/etcd.log 2>&1 &
"$PROGRAMS/kube-apiserver" --etcd-servers=http://127.0.0.1:22379 --secure-port="$API_PORT" --bind-address=0.0.0.0 \
  --advertise-address="$ADDRESS" --tls-cert-file=api.crt --tls-private-key-file=api.key --client-ca-file=ca.crt \
  --service-account-issuer="$ISSUER" --service-account-key-file=accounts.crt \
  --service-account-signing-key-file=accounts.key --service-cluster-ip-range="$SERVICES" --allow-privileged=true \
  --authorization-mode=Node,RBAC --kubelet-preferred-address-types=InternalIP \
  --kubelet-client-certificate=kubelet-client.crt --kubelet-client-key=kubelet-client.key >log/kube-apiserver.log 2>&1 &
containerd --config="$NODE/containerd.toml" >log/containerd.log 2>&1 &
# Without its own accounts' credentials the controller manager may do too little for anything to be scheduled.
keep "$PROGRAMS/kube-controller-manager" --kubeconfig=kube-controller-manager.kubeconfig \
  --service-account-private-key-file=accounts.key --root-ca-file=ca.crt --use-service-account-credentials=true \
  --leader-elect=false --bind-address=127.0.0.1 --allocate-node-cidrs=false >log/kube-controller-manager.log 2>&1 &
keep "$PROGRAMS/kube-scheduler" --kubeconfig=kube-scheduler.kubeconfig --leader-elect=false --bind-address=127.0.0.1 \
  >log/kube-scheduler.log 2>&1 &

while [ ! -e api-is-ready ]; do sleep 0.05; done
"$PROGRAMS/kube-proxy" --config=kube-proxy.json --v=2 >log/kube-proxy.log 2>&1 &
while :; do # started again when it ends, as systemd does
  "$PROGRAMS/kubelet" --config=kubelet.json --kubeconfig=kubelet.kubeconfig --root-dir="$NODE/kubelet" \
    --cert-dir="$NODE/kubelet/pki" --hostname-override=node1 --node-ip="$ADDRESS" --v=2 >>log/kubelet.log 2>&1 &
  echo $! >kubelet.pid
  wait $!
  sleep 0.2
done
