# What a developer does here, by name; `make` alone lists it.
#
# Rust, Go, make and sh are all that is needed: the Kubernetes that the tests run against is built
# from source, as tests/controlplane/go.mod pins it, and so are the CNI tools that call the plugin,
# Helm, crane and the Go program. The tests make network namespaces, for which they need root and `ip`.

CARGO ?= cargo
GO ?= go

# What images and tests are built with; a build without needs no protoc.
features := --features etcd

controlplane_dir := target/controlplane
kubernetes := $(shell sed -n 's,^.*k8s.io/kubernetes \(v[0-9.]*\).*,\1,p' tests/controlplane/go.mod)
minor := $(word 2,$(subst ., ,$(kubernetes)))

# With a complete KUBEBUILDER_ASSETS there is nothing to build.
given := $(and $(KUBEBUILDER_ASSETS),$(wildcard $(KUBEBUILDER_ASSETS)/etcd),$(wildcard \
	$(KUBEBUILDER_ASSETS)/kube-apiserver),$(wildcard $(KUBEBUILDER_ASSETS)/kubectl))
demo_tools := $(if $(given),,$(addprefix $(controlplane_dir)/,etcd kube-apiserver kubectl))
all_tools := $(if $(given),,$(demo_tools) $(controlplane_dir)/kube-controller-manager)

cni_tools := $(addprefix target/cni/,cnitool bridge macvlan)

# What a node is made of.
node_packages := containerd runc busybox-static
node_tools := $(addprefix $(controlplane_dir)/,kubelet kube-scheduler kube-controller-manager) \
	$(addprefix target/cni/,bridge host-local loopback) target/multus/multus

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the programs: target/release/ip-reconciler and whereabouts
	$(CARGO) build --locked --release

# Linked with everything they need, and without the paths of the machine that built them.
host := $(shell rustc -vV | sed -n 's/^host: //p')
sysroot := $(shell rustc --print sysroot)
static_flags := -C target-feature=+crt-static --remap-path-prefix=$(CURDIR)=/src \
	--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo --remap-path-prefix=$(sysroot)=/rust

# Reads the definition of etcd's API, and those of Google that come with it.
.PHONY: protoc
protoc:
	@protoc --descriptor_set_out=/dev/null google/protobuf/descriptor.proto 2>/dev/null || { apt-get update && \
		apt-get install -y --no-install-recommends protobuf-compiler libprotobuf-dev; }

.PHONY: static
static: protoc ## Build the programs statically linked, for images
	RUSTFLAGS="$(static_flags)" $(CARGO) build --locked --release $(features) --target $(host)

# What the image holds: the programs of Cargo.toml, and nothing else.
programs := $(shell sed -n '/^\[\[bin\]\]/,/^path/s/^name = "\(.*\)"/\1/p' Cargo.toml)
version := $(shell sed -n 's/^version = "\(.*\)"/\1/p;T;q' Cargo.toml)
architecture := $(patsubst aarch64%,arm64,$(patsubst x86_64%,amd64,$(host)))

IMAGE ?= whereabouts:$(version)

.PHONY: image
image: image-root ## Build the image as an archive, without any engine: target/image/whereabouts.tar
	REVISION=$${REVISION:-$$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)} \
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null)} \
	build/image.sh target/image/root $(IMAGE) $(architecture) target/image/whereabouts.tar

.PHONY: image-root
image-root: static
	rm -rf target/image/root
	mkdir -p target/image/root
	install -m 0555 $(programs:%=target/$(host)/release/%) target/image/root

.PHONY: demo
demo: demo-build ## Watch the program clean up after a crashed node, on a real control plane
	@$(CARGO) run --locked --release --quiet --example controlplane -- sh tests/demo.sh

.PHONY: demo-shell
demo-shell: demo-build ## The demo, and then a shell on its cluster
	@$(CARGO) run --locked --release --quiet --example controlplane -- sh tests/demo.sh shell

.PHONY: demo-build
demo-build: $(demo_tools)
	$(CARGO) build --locked --release --bin ip-reconciler --example controlplane

.PHONY: test
test: controlplane cni iproute monitoring image crane helm peer ## Run all tests (as root)
	$(CARGO) test --locked $(features)
	$(CARGO) test --locked --test it features

.PHONY: e2e
e2e: controlplane node-tools iproute image ## Run the tests on real nodes: kubelet, containerd, Multus (as root)
	tests/e2e/leaves-nothing.sh $(CARGO) test --locked $(features) --test e2e

# FULL=1 measures all sizes (an hour); BENCH="--pods 1000 --rounds 3" any other.
full_bench := --pods 10000,30000,100000 --entries 0,1000,5000 --calls 300,1000 --nodes 1,10,100 \
	--plot docs/performance.svg
BENCH ?= $(if $(FULL),$(full_bench))
static_plugin := $(CURDIR)/target/$(host)/release/whereabouts

.PHONY: bench
bench: controlplane static ## Measure the programs beside a floor; PEER_PLUGIN= and PEER_RECONCILER= name others
	STATIC_PLUGIN=$(static_plugin) $(CARGO) bench --locked $(features) --bench cluster -- $(BENCH)

.PHONY: bench-peer
bench-peer: peer ## The same beside the Go program
	PEER_PLUGIN=$(CURDIR)/target/peer/whereabouts PEER_RECONCILER=$(CURDIR)/target/peer/ip-reconciler $(MAKE) bench

.PHONY: bench-tiny
bench-tiny: controlplane protoc ## See that the measurements work, on what the tests have built
	$(CARGO) bench --locked --profile dev $(features) --bench cluster -- --pods 200 --rounds 1 --orphans 20 \
		--entries 20 --calls 10 --nodes 1,2 --at-once 5

# The runner of the version that Cargo.lock names.
gungraun := $(shell sed -n '/^name = "gungraun-runner"/{n;s/.*"\(.*\)"/\1/p}' Cargo.lock)
gungraun_runner := target/gungraun-$(gungraun)/bin/gungraun-runner

$(gungraun_runner):
	$(CARGO) install --locked --quiet --root $(@D:/bin=) --version $(gungraun) gungraun-runner

.PHONY: valgrind
valgrind:
	@command -v valgrind >/dev/null || { apt-get update && apt-get install -y --no-install-recommends valgrind libc6-dbg; }

.PHONY: counts
counts: valgrind $(gungraun_runner) ## Count the instructions of the pure parts: figures without noise
	GUNGRAUN_RUNNER=$(CURDIR)/$(gungraun_runner) $(CARGO) bench --locked --profile counts --bench counts

.PHONY: lint
lint: protoc ## Check format, lints and documentation
	$(CARGO) fmt --check
	$(CARGO) clippy --locked $(features) --all-targets -- -D warnings
	$(CARGO) clippy --locked --bins -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked $(features) --no-deps

.PHONY: generate
generate: helm protoc ## Write the generated manifests, the chart's and its golden output anew
	UPDATE_GENERATED=1 $(CARGO) test --locked $(features) --test it generated
	UPDATE_GENERATED=1 $(CARGO) test --locked $(features) --test it golden

.PHONY: controlplane
controlplane: $(all_tools) ## Build the Kubernetes of the tests (7 minutes on 2 cores, once)

.PHONY: cni
cni: $(cni_tools) ## Build the CNI tools of the tests (half a minute on 2 cores, once)

# What a Debian image for containers may lack; unshare and nsenter are always there.
.PHONY: iproute
iproute:
	@command -v ip >/dev/null || { apt-get update && apt-get install -y --no-install-recommends iproute2; }

.PHONY: node-tools
node-tools: $(node_tools) ## Build what the nodes of the end-to-end test run (two minutes on 2 cores, once)
	@dpkg -s $(node_packages) >/dev/null 2>&1 || { apt-get update && \
		apt-get install -y --no-install-recommends $(node_packages); }

.PHONY: monitoring
monitoring: $(addprefix target/monitoring/,promtool pushgateway) ## Build the Prometheus tools of the tests (5 minutes, once)

.PHONY: crane
crane: target/crane/crane ## Build crane, which the tests read the image with (a few seconds, once)

.PHONY: helm
helm: target/helm/helm ## Build Helm, which the tests install the chart with (a minute, once)

.PHONY: peer
peer: $(addprefix target/peer/,whereabouts ip-reconciler) ## Build the Go program of tests and bench (a minute, once)

.PHONY: clean
clean: ## Remove everything that was built, the Kubernetes of the tests too
	$(CARGO) clean

# `make controlplane` builds anew what is missing or older than the pinned versions.
$(controlplane_dir)/%: tests/controlplane/go.mod tests/controlplane/go.sum
	@echo "Building $(@F) (about $(minutes) on 2 cores; only this time)"
	@CGO_ENABLED=0 $(GO) -C tests/controlplane build -trimpath -o ../../$@ -ldflags "-s -w \
		-X k8s.io/component-base/version.gitVersion=$(kubernetes) \
		-X k8s.io/component-base/version.gitMajor=1 \
		-X k8s.io/component-base/version.gitMinor=$(minor)" $(package)
	@touch $@

package = k8s.io/kubernetes/cmd/$(@F)
$(controlplane_dir)/etcd: package = go.etcd.io/etcd/server/v3
$(controlplane_dir)/etcd: minutes = 1 minute
$(controlplane_dir)/kube-apiserver: minutes = 4 minutes
$(controlplane_dir)/kubectl: minutes = half a minute
$(controlplane_dir)/kube-controller-manager: minutes = a minute and a half
$(controlplane_dir)/kubelet: minutes = half a minute
$(controlplane_dir)/kube-scheduler: minutes = 10 seconds

target/cni/%: tests/cni/go.mod tests/cni/go.sum
	@CGO_ENABLED=0 $(GO) -C tests/cni build -trimpath -o ../../$@ -ldflags "-s -w" $(package)
	@touch $@

target/cni/cnitool: package = github.com/containernetworking/cni/cnitool
target/cni/bridge: package = github.com/containernetworking/plugins/plugins/main/bridge
target/cni/macvlan: package = github.com/containernetworking/plugins/plugins/main/macvlan
target/cni/host-local: package = github.com/containernetworking/plugins/plugins/ipam/host-local
target/cni/loopback: package = github.com/containernetworking/plugins/plugins/main/loopback

target/monitoring/%: tests/monitoring/%/go.mod tests/monitoring/%/go.sum
	@echo "Building $(@F) (promtool takes about 5 minutes on 2 cores; only this time)"
	@CGO_ENABLED=0 $(GO) -C tests/monitoring/$(@F) build -trimpath -o ../../../$@ -ldflags "-s -w" $(package)
	@touch $@

target/monitoring/promtool: package = github.com/prometheus/prometheus/cmd/promtool
target/monitoring/pushgateway: package = github.com/prometheus/pushgateway

target/crane/crane target/helm/helm target/multus/multus:
	@echo "Building $(@F) (only this time)"
	@CGO_ENABLED=0 $(GO) -C tests/$(@F) build -trimpath -o ../../$@ -ldflags "-s -w" $(package)
	@touch $@

target/crane/crane: tests/crane/go.mod tests/crane/go.sum
target/crane/crane: package = github.com/google/go-containerregistry/cmd/crane
target/multus/multus: tests/multus/go.mod tests/multus/go.sum
target/multus/multus: package = gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd/multus
target/helm/helm: tests/helm/go.mod tests/helm/go.sum
target/helm/helm: package = helm.sh/helm/v4/cmd/helm

target/peer/%: tests/peer/go.mod tests/peer/go.sum tests/peer/ip-reconciler/main.go
	@echo "Building the Go program's $(@F) (only this time)"
	@CGO_ENABLED=0 $(GO) -C tests/peer build -trimpath -o ../../$@ -ldflags "-s -w" $(package)
	@touch $@

target/peer/whereabouts: package = github.com/k8snetworkplumbingwg/whereabouts/cmd
target/peer/ip-reconciler: package = ./ip-reconciler
