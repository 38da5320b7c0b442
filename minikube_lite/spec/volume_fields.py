"""What minikube-lite does about each source of a volume and each field of a mount. Read by `spec.fields`.

Rows: object → (field, type, verdict, note, values allowed). Types as `spec.fields.parse_type` reads them, `!` marks
what Kubernetes requires.
"""

from __future__ import annotations

from collections.abc import Iterator

Row = tuple[str, str, str, str, tuple[str, ...]]

HOST_PATH_TYPES = ("DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")

_CLUSTER = "its driver is not reached from here, so the pod would run without its data"
_ATTACH = "the pod would run without its data: attach or mount it on this machine, and use hostPath"
_OLD = "Kubernetes has given it up, and the pod would run without its data"
_NOT_HERE = {
    "awsElasticBlockStore AWSElasticBlockStoreVolumeSource": _CLUSTER,
    "azureDisk AzureDiskVolumeSource": _CLUSTER,
    "azureFile AzureFileVolumeSource": _CLUSTER,
    "cephfs CephFSVolumeSource": _OLD,
    "cinder CinderVolumeSource": _CLUSTER,
    "csi CSIVolumeSource": _CLUSTER,
    "fc FCVolumeSource": _ATTACH,
    "flexVolume FlexVolumeSource": _CLUSTER,
    "flocker FlockerVolumeSource": _OLD,
    "gcePersistentDisk GCEPersistentDiskVolumeSource": _CLUSTER,
    "gitRepo GitRepoVolumeSource": _OLD,
    "glusterfs GlusterfsVolumeSource": _OLD,
    "iscsi ISCSIVolumeSource": _ATTACH,
    "nfs NFSVolumeSource": _ATTACH,
    "photonPersistentDisk PhotonPersistentDiskVolumeSource": _OLD,
    "portworxVolume PortworxVolumeSource": _CLUSTER,
    "quobyte QuobyteVolumeSource": _OLD,
    "rbd RBDVolumeSource": _OLD,
    "scaleIO ScaleIOVolumeSource": _OLD,
    "storageos StorageOSVolumeSource": _OLD,
    "vsphereVolume VsphereVirtualDiskVolumeSource": _CLUSTER,
}
_NO_ACCOUNTS = "there are no service accounts here, so nobody could give out the token"
_NO_CERTIFICATES = "there is no API server here that could sign or trust anything"


def _row(name: str, type_: str, note: str = "", verdict: str = "HONOURED", one_of: tuple[str, ...] = ()) -> Row:
    return name, type_, verdict, note, one_of


def _not_here() -> Iterator[Row]:
    for field, why in _NOT_HERE.items():
        name, type_ = field.split()
        yield _row(name, type_, why, "REFUSED")


_ONE_KIND = "there is one kind of volume: a directory of this machine's"
_MODE = "of the files that say no mode of their own; octal or decimal, 0644 where it is missing"
_USER = "the user id that owns the files that say none of their own"
_ITEMS = "only these keys, each as the file `path`; all of them where it is missing"
_OPTIONAL = "whether the pod starts without it, too"

VOLUME_FIELDS: dict[str, tuple[Row, ...]] = {
    "Volume": (
        _row("name!", "string", "a DNS label, unique in the pod"),
        _row("emptyDir", "EmptyDirVolumeSource", "a directory as old as its pod; also what a volume is without source"),
        _row("hostPath", "HostPathVolumeSource", "a path of this machine's"),
        _row("configMap", "ConfigMapVolumeSource", "read-only; follows the ConfigMap within a second"),
        _row("secret", "SecretVolumeSource", "read-only, in memory; follows the Secret within a second"),
        _row("downwardAPI", "DownwardAPIVolumeSource", "read-only; follows the pod's labels and annotations"),
        _row("projected", "ProjectedVolumeSource", "configMap, secret and downwardAPI in one directory"),
        _row("persistentVolumeClaim", "PersistentVolumeClaimVolumeSource", "a directory that outlives the pod"),
        _row("ephemeral", "EphemeralVolumeSource", "a claim that comes and goes with the pod"),
        _row("image", "ImageVolumeSource", "the root file system of an image, read-only"),
        *_not_here(),
    ),
    "EmptyDirVolumeSource": (
        _row("medium", "string", "`Memory`: a tmpfs; of huge pages none are made"),
        _row("sizeLimit", "quantity", "more in a `Memory` one cannot be written, more on disk evicts the pod"),
        _row("mode", "int", "of the directory; 0777 where it is missing"),
    ),
    "HostPathVolumeSource": (
        _row("path!", "string", "absolute, without `..`"),
        _row("type", "string", "what must be there, or may be made", one_of=HOST_PATH_TYPES),
    ),
    "ConfigMapVolumeSource": (
        _row("name", "string"),
        _row("items", "[KeyToPath]", _ITEMS),
        _row("optional", "bool", _OPTIONAL),
        _row("defaultMode", "int", _MODE),
        _row("defaultUser", "int", _USER),
    ),
    "SecretVolumeSource": (
        _row("secretName", "string"),
        _row("items", "[KeyToPath]", _ITEMS),
        _row("optional", "bool", _OPTIONAL),
        _row("defaultMode", "int", _MODE),
        _row("defaultUser", "int", _USER),
    ),
    "KeyToPath": (
        _row("key!", "string"),
        _row("path!", "string", "relative, without `..`"),
        _row("mode", "int"),
        _row("user", "int"),
    ),
    "DownwardAPIVolumeSource": (
        _row("items", "[DownwardAPIVolumeFile]"),
        _row("defaultMode", "int", _MODE),
        _row("defaultUser", "int", _USER),
    ),
    "DownwardAPIVolumeFile": (
        _row("path!", "string", "relative, without `..`"),
        _row("fieldRef", "ObjectFieldSelector", "`metadata.labels`, `metadata.labels['KEY']`, … (docs/volumes.md)"),
        _row("resourceFieldRef", "ResourceFieldSelector", "a limit or request of the container named"),
        _row("mode", "int"),
        _row("user", "int"),
    ),
    "ProjectedVolumeSource": (
        _row("sources", "[VolumeProjection]"),
        _row("defaultMode", "int", _MODE),
        _row("defaultUser", "int", _USER),
    ),
    "VolumeProjection": (
        _row("configMap", "ConfigMapProjection"),
        _row("secret", "SecretProjection"),
        _row("downwardAPI", "DownwardAPIProjection"),
        _row("serviceAccountToken", "ServiceAccountTokenProjection", _NO_ACCOUNTS, "REFUSED"),
        _row("clusterTrustBundle", "ClusterTrustBundleProjection", _NO_CERTIFICATES, "REFUSED"),
        _row("podCertificate", "PodCertificateProjection", _NO_CERTIFICATES, "REFUSED"),
    ),
    "PersistentVolumeClaimVolumeSource": (
        _row("claimName!", "string", "a PersistentVolumeClaim of the pod's namespace"),
        _row("readOnly", "bool", "no container may write to it"),
    ),
    "EphemeralVolumeSource": (_row("volumeClaimTemplate", "PersistentVolumeClaimTemplate"),),
    "PersistentVolumeClaim": (
        _row("apiVersion!", "string", one_of=("v1",)),
        _row("kind!", "string", one_of=("PersistentVolumeClaim",)),
        _row("metadata!", "ObjectMeta"),
        _row("spec!", "PersistentVolumeClaimSpec"),
        _row("status", "any", "what a cluster had to say about it", "IGNORED"),
    ),
    "PersistentVolumeClaimSpec": (
        _row("accessModes", "[string]", "required; `ReadWriteOncePod` lets one pod at a time use it"),
        _row(
            "resources", "VolumeResourceRequirements", "`requests.storage` is required, and shown; nothing enforces it"
        ),
        _row("volumeMode", "string", "`Filesystem`"),
        _row("dataSource", "TypedLocalObjectReference", "the volume would start without this data", "REFUSED"),
        _row("dataSourceRef", "TypedObjectReference", "the volume would start without this data", "REFUSED"),
        _row("selector", "LabelSelector", _ONE_KIND, "IGNORED"),
        _row("storageClassName", "string", _ONE_KIND, "IGNORED"),
        _row("volumeAttributesClassName", "string", _ONE_KIND, "IGNORED"),
        _row("volumeName", "string", _ONE_KIND, "IGNORED"),
    ),
    "ImageVolumeSource": (
        _row("reference", "string", "as a container's `image`, but `host`"),
        _row("pullPolicy", "string", "as a container's `imagePullPolicy`, once for the pod", one_of=PULL_POLICIES),
    ),
    "VolumeMount": (
        _row("name!", "string", "one of `spec.volumes`"),
        _row("mountPath!", "string", "without `:`; unique in the container, not `/` and not below `/proc`"),
        _row("readOnly", "bool"),
        _row("recursiveReadOnly", "string", "mounts below it as well", one_of=("Disabled", "IfPossible", "Enabled")),
        _row("subPath", "string", "a file or directory of the volume; a directory is made where it is missing"),
        _row("subPathExpr", "string", "likewise, with `$(VAR)` filled in from the container's environment"),
        _row(
            "mountPropagation",
            "string",
            "`Bidirectional` only for a privileged container",
            one_of=("None", "HostToContainer", "Bidirectional"),
        ),
        _row("bindMountOptions", "[string]", "of `noexec`, `nodev`, `nosuid`"),
    ),
}

VOLUME_PLACES = {
    "Volume": "spec.volumes[]",
    "EmptyDirVolumeSource": "spec.volumes[].emptyDir",
    "HostPathVolumeSource": "spec.volumes[].hostPath",
    "ConfigMapVolumeSource": "spec.volumes[].configMap",
    "SecretVolumeSource": "spec.volumes[].secret",
    "KeyToPath": "spec.volumes[].configMap.items[]",
    "DownwardAPIVolumeSource": "spec.volumes[].downwardAPI",
    "DownwardAPIVolumeFile": "spec.volumes[].downwardAPI.items[]",
    "ProjectedVolumeSource": "spec.volumes[].projected",
    "VolumeProjection": "spec.volumes[].projected.sources[]",
    "PersistentVolumeClaimVolumeSource": "spec.volumes[].persistentVolumeClaim",
    "EphemeralVolumeSource": "spec.volumes[].ephemeral",
    "ImageVolumeSource": "spec.volumes[].image",
    "VolumeMount": "spec.containers[].volumeMounts[]",
    "PersistentVolumeClaim": "PersistentVolumeClaim",
    "PersistentVolumeClaimSpec": "PersistentVolumeClaim: spec",
}
"""Where each of these objects stands in a Pod."""
