"""The fields inside the fields: names and types only, so that a typo anywhere in a Pod is found. Read by `spec.fields`.

From Kubernetes' own API description (api/openapi-spec). One type a paragraph, `!` marks what Kubernetes requires, `[T]`
is a list of T, `{T}` a mapping from names to T. What is done about a field is decided where it hangs: in `spec.fields`.
"""

NESTED = """\
AWSElasticBlockStoreVolumeSource: volumeID! string, fsType string, partition int, readOnly bool
Affinity: nodeAffinity NodeAffinity, podAffinity PodAffinity, podAntiAffinity PodAntiAffinity
AzureDiskVolumeSource: diskName! string, diskURI! string, cachingMode string, fsType string, kind string, readOnly
    bool
AzureFileVolumeSource: secretName! string, shareName! string, readOnly bool
CSIVolumeSource: driver! string, fsType string, nodePublishSecretRef LocalObjectReference, readOnly bool,
    volumeAttributes {string}
CephFSVolumeSource: monitors! [string], path string, readOnly bool, secretFile string, secretRef
    LocalObjectReference, user string
CinderVolumeSource: volumeID! string, fsType string, readOnly bool, secretRef LocalObjectReference
ClusterTrustBundleProjection: path! string, labelSelector LabelSelector, name string, optional bool, signerName
    string, user int
ConfigMapProjection: items [KeyToPath], name string, optional bool
ContainerRestartRule: action! string, exitCodes ContainerRestartRuleOnExitCodes
ContainerRestartRuleOnExitCodes: operator! string, values [int]
DownwardAPIProjection: items [DownwardAPIVolumeFile]
EvictionResponder: name! string, priority! int
ExecAction: command [string]
FCVolumeSource: fsType string, lun int, readOnly bool, targetWWNs [string], wwids [string]
FileKeySelector: key! string, path! string, volumeName! string, optional bool
FlexVolumeSource: driver! string, fsType string, options {string}, readOnly bool, secretRef LocalObjectReference
FlockerVolumeSource: datasetName string, datasetUUID string
GCEPersistentDiskVolumeSource: pdName! string, fsType string, partition int, readOnly bool
GRPCAction: port! int, mode string, service string
GitRepoVolumeSource: repository! string, directory string, revision string
GlusterfsVolumeSource: endpoints! string, path! string, readOnly bool
HTTPGetAction: port! int-or-string, host string, httpHeaders [HTTPHeader], path string, protocol string, scheme
    string
HTTPHeader: name! string, value! string
ISCSIVolumeSource: iqn! string, lun! int, targetPortal! string, chapAuthDiscovery bool, chapAuthSession bool, fsType
    string, initiatorName string, iscsiInterface string, portals [string], readOnly bool, secretRef
    LocalObjectReference
LabelSelector: matchExpressions [LabelSelectorRequirement], matchLabels {string}
LabelSelectorRequirement: key! string, operator! string, values [string]
Lifecycle: postStart LifecycleHandler, preStop LifecycleHandler, stopSignal string
LifecycleHandler: exec ExecAction, httpGet HTTPGetAction, sleep SleepAction, tcpSocket TCPSocketAction
LocalObjectReference: name string
ManagedFieldsEntry: apiVersion string, fieldsType string, fieldsV1 any, manager string, operation string,
    subresource string, time string
NFSVolumeSource: path! string, server! string, readOnly bool
NodeAffinity: preferredDuringSchedulingIgnoredDuringExecution [PreferredSchedulingTerm],
    requiredDuringSchedulingIgnoredDuringExecution NodeSelector
NodeSelector: nodeSelectorTerms! [NodeSelectorTerm]
NodeSelectorRequirement: key! string, operator! string, values [string]
NodeSelectorTerm: matchExpressions [NodeSelectorRequirement], matchFields [NodeSelectorRequirement]
OwnerReference: apiVersion! string, kind! string, name! string, uid! string, blockOwnerDeletion bool, controller
    bool
PersistentVolumeClaimTemplate: spec! PersistentVolumeClaimSpec, metadata ObjectMeta
PhotonPersistentDiskVolumeSource: pdID! string, fsType string
PodAffinity: preferredDuringSchedulingIgnoredDuringExecution [WeightedPodAffinityTerm],
    requiredDuringSchedulingIgnoredDuringExecution [PodAffinityTerm]
PodAffinityTerm: topologyKey! string, labelSelector LabelSelector, matchLabelKeys [string], mismatchLabelKeys
    [string], namespaceSelector LabelSelector, namespaces [string]
PodAntiAffinity: preferredDuringSchedulingIgnoredDuringExecution [WeightedPodAffinityTerm],
    requiredDuringSchedulingIgnoredDuringExecution [PodAffinityTerm]
PodCertificateProjection: keyType! string, signerName! string, certificateChainPath string, credentialBundlePath
    string, keyPath string, maxExpirationSeconds int, user int, userAnnotations {string}
PodOS: name! string
PodReadinessGate: conditionType! string
PodResourceClaim: name! string, resourceClaimName string, resourceClaimTemplateName string
PodSchedulingGate: name! string
PodSchedulingGroup: podGroupName string
PortworxVolumeSource: volumeID! string, fsType string, readOnly bool
PreferredSchedulingTerm: preference! NodeSelectorTerm, weight! int
Probe: exec ExecAction, failureThreshold int, grpc GRPCAction, httpGet HTTPGetAction, initialDelaySeconds int,
    periodSeconds int, successThreshold int, tcpSocket TCPSocketAction, terminationGracePeriodSeconds int,
    timeoutSeconds int
QuobyteVolumeSource: registry! string, volume! string, group string, readOnly bool, tenant string, user string
RBDVolumeSource: image! string, monitors! [string], fsType string, keyring string, pool string, readOnly bool,
    secretRef LocalObjectReference, user string
ResourceClaim: name! string, request string
SELinuxOptions: level string, role string, type string, user string
ScaleIOVolumeSource: gateway! string, secretRef! LocalObjectReference, system! string, fsType string,
    protectionDomain string, readOnly bool, sslEnabled bool, storageMode string, storagePool string, volumeName
    string
SecretProjection: items [KeyToPath], name string, optional bool
ServiceAccountTokenProjection: path! string, audience string, expirationSeconds int, user int
SleepAction: seconds! int
StorageOSVolumeSource: fsType string, readOnly bool, secretRef LocalObjectReference, volumeName string,
    volumeNamespace string
TCPSocketAction: port! int-or-string, host string
Toleration: effect string, key string, operator string, tolerationSeconds int, value string
TopologySpreadConstraint: maxSkew! int, topologyKey! string, whenUnsatisfiable! string, labelSelector LabelSelector,
    matchLabelKeys [string], minDomains int, nodeAffinityPolicy string, nodeTaintsPolicy string
TypedLocalObjectReference: kind! string, name! string, apiGroup string
TypedObjectReference: kind! string, name! string, apiGroup string, namespace string
VolumeDevice: devicePath! string, name! string
VolumeResourceRequirements: limits {quantity}, requests {quantity}
VsphereVirtualDiskVolumeSource: volumePath! string, fsType string, storagePolicyID string, storagePolicyName string
WeightedPodAffinityTerm: podAffinityTerm! PodAffinityTerm, weight! int
WindowsSecurityContextOptions: gmsaCredentialSpec string, gmsaCredentialSpecName string, hostProcess bool,
    runAsUserName string
"""
