# The first process of a node: when it ends, everything on the node has ended.
#
#   sh init.sh FOLDER GROUP
#
# What a disk would keep is in FOLDER, and stays when the node crashes; /run does not. Pods are put below
# the control group GROUP. The kubelet wants
# settings of the kernel that are not the machine's: it finds files in their place.
set -e
for folder in etc opt var; do
  mount --bind "$1/$folder" "/$folder"
done
mount -t tmpfs run /run
mkdir /run/settings
pretend() {
  echo "$2" >"/run/settings/$1"
  mount --bind "/run/settings/$1" "/proc/sys/$(echo "$1" | tr . /)"
}
pretend vm.overcommit_memory 1
pretend vm.panic_on_oom 0
pretend kernel.panic 10
pretend kernel.panic_on_oops 1
pretend kernel.keys.root_maxkeys 1000000
pretend kernel.keys.root_maxbytes 25000000
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p "/sys/fs/cgroup/$2"
else
  for controller in /sys/fs/cgroup/*/; do
    mkdir -p "$controller$2"
  done
fi
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo ready
while read -r _; do :; done
