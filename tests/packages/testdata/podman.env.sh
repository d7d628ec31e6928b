# shellcheck shell=bash disable=SC2154 # $store
# Sourced with $store: a podman of its own, which changes nothing of the host's and needs neither systemd nor a registry.
mkdir -p "${store:?}"
cat >"$store/containers.conf" <<END
[containers]
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=$(ulimit -Hu):$(ulimit -Hu)"]
cgroups = "disabled"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
[network]
network_config_dir = "$store/networks"
END
cat >"$store/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$store/root"
runroot = "$store/run"
END
export CONTAINERS_CONF=$store/containers.conf CONTAINERS_STORAGE_CONF=$store/storage.conf
export BUILDAH_FORMAT=docker BUILDAH_ISOLATION=chroot
