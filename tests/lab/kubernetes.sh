# Builds kube-apiserver and kubectl from Debian's source package. Runs as mmdebstrap's last hook, outside of the
# new root, which is $1; its network is mmdebstrap's. Lines `kn.AT` and `kn.OF` tell how far it is.
set -e
root=$1
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
echo "kn.AT fetching the source"
cd "$root/root"
apt-get source --download-only kubernetes
echo "kn.AT unpacking"
# shellcheck disable=SC2016 # the other shell's
exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -c '
set -e
export GOPATH=/root/go GO111MODULE=off CGO_ENABLED=0
tree=$GOPATH/src/k8s.io/kubernetes
mkdir -p "${tree%/*}"
dpkg-source --no-check --extract /root/kubernetes_*.dsc "$tree"
cd "$tree"
echo "kn.AT generating code"
make generated_files
echo "kn.OF $(go list -deps ./cmd/kube-apiserver ./cmd/kubectl | wc -l)"
go build -v -ldflags "-s -w" -o /out/ k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl 2>&1
cp /usr/bin/etcd /out/'
