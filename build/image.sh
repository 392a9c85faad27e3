#!/bin/sh
# Packs a folder of programs as the image that the Dockerfile describes, without any engine.
#
#   build/image.sh FOLDER NAME:TAG ARCHITECTURE ARCHIVE
#
# The archive is an OCI layout and what `docker save` writes, in one: docker, podman, containerd, skopeo
# and crane read it. User, entry point and labels are those of the Dockerfile (or of the file that the
# variable DOCKERFILE names). The same programs give
# the same digest: nothing of the machine goes in, and the only time is SOURCE_DATE_EPOCH.
set -eu
export LC_ALL=C

folder=$1 name=$2 architecture=$3 archive=$4
case ${name##*/} in
*:*) ;;
*)
  echo "$0: $name names no tag: give NAME:TAG" >&2
  exit 2
  ;;
esac
dockerfile=${DOCKERFILE:-$(dirname "$0")/../Dockerfile}
revision=${REVISION:-unknown}
created=$(date -u -d "@${SOURCE_DATE_EPOCH:-0}" +%Y-%m-%dT%H:%M:%SZ)

work=$(mktemp -d "$archive.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/layout/blobs/sha256"

# Names all files below a folder, in order, so that the folders themselves stay out.
pack() (
  cd "$1"
  find . -type f | sed 's,^\./,,' | sort | tar -cf - --files-from=- --mtime="@${SOURCE_DATE_EPOCH:-0}" \
    --owner=0 --group=0 --numeric-owner --format=ustar
)
digest() { sha256sum "$1" | cut -d ' ' -f 1; }
# Puts a file among the blobs, and says how a manifest refers to it.
blob() {
  printf '"digest":"sha256:%s","size":%s' "$(digest "$1")" "$(stat -c %s "$1")"
  mv "$1" "$work/layout/blobs/sha256/$(digest "$1")"
}
# All instructions LABEL KEY="VALUE" of the Dockerfile, as members of an object.
labels() {
  sed -n -e 's/^LABEL \([^=]*\)=\("[^"]*"\)$/"\1":\2/p' "$dockerfile" |
    sed -e "s/\${VERSION}/$version/" -e "s/\${REVISION}/$revision/" -e "s/\${CREATED}/$created/" | paste -sd, -
}
instruction() { sed -n "s/^$1 //p" "$dockerfile"; }
version=$(instruction ARG | sed -n 's/^VERSION=//p')

pack "$folder" >"$work/layer"
diff_id=$(digest "$work/layer")
gzip -n -9 "$work/layer"
layer_path=blobs/sha256/$(digest "$work/layer.gz")
layer=$(blob "$work/layer.gz")

cat >"$work/config" <<END
{"architecture":"$architecture","os":"linux","created":"$created","config":{"User":"$(instruction USER)",\
"Entrypoint":$(instruction ENTRYPOINT),"Labels":{$(labels)}},\
"rootfs":{"type":"layers","diff_ids":["sha256:$diff_id"]},\
"history":[{"created":"$created","created_by":"build/image.sh"}]}
END
config_path=blobs/sha256/$(digest "$work/config")
config=$(blob "$work/config")

cat >"$work/manifest" <<END
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",\
"config":{"mediaType":"application/vnd.oci.image.config.v1+json",$config},\
"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip",$layer}]}
END
manifest=$(blob "$work/manifest")

# The name as containerd and the kubelet write it in full.
case $name in
*.*/* | *:*/* | localhost/*) full=$name ;;
*/*) full=docker.io/$name ;;
*) full=docker.io/library/$name ;;
esac
printf '{"imageLayoutVersion":"1.0.0"}\n' >"$work/layout/oci-layout"
cat >"$work/layout/index.json" <<END
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[\
{"mediaType":"application/vnd.oci.image.manifest.v1+json",$manifest,\
"platform":{"architecture":"$architecture","os":"linux"},\
"annotations":{"io.containerd.image.name":"$full","org.opencontainers.image.ref.name":"${name##*:}"}}]}
END
printf '[{"Config":"%s","RepoTags":["%s"],"Layers":["%s"]}]\n' "$config_path" "$name" "$layer_path" \
  >"$work/layout/manifest.json"

pack "$work/layout" >"$work/archive"
mv "$work/archive" "$archive"
