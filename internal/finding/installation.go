package finding

import (
	"fmt"
	"time"

	"azwi/contract"
)

// What is wrong with an installation. Names of objects come from the cluster.

// Interrupted is a switch of engines that ended while the new one was tried.
func Interrupted(serving, target string) Finding {
	return found(CodeInterrupted, Subject{}, "a switch of engines, from %s to %s, was interrupted; the %s serves all pods: "+
		"run azwi upgrade to continue, or azwi upgrade --engine %s to switch back", serving, target, serving, serving)
}

// RemovalInterrupted is a switch of engines that ended while the old one was removed.
func RemovalInterrupted(serving, former string) Finding {
	return found(CodeInterrupted, Subject{}, "a switch of engines was interrupted; the %s serves all pods, and the %s is not completely removed: "+
		"run azwi upgrade to finish, or azwi upgrade --engine %s to switch back", serving, former, former)
}

// UninstallInterrupted is an uninstallation that did not end.
func UninstallInterrupted() Finding {
	return found(CodeInterrupted, Subject{}, "an uninstallation was interrupted: run azwi uninstall to continue, or azwi upgrade to install again")
}

// InstallInterrupted is an installation that did not end.
func InstallInterrupted() Finding {
	return found(CodeInterrupted, Subject{}, "an installation was started but did not finish: run azwi upgrade")
}

// NotRegistered is a MutatingWebhookConfiguration that is not there.
func NotRegistered(configuration string) Finding {
	return found(CodeNotRegistered, Subject{}, "the MutatingWebhookConfiguration %s is gone: no pod is injected", configuration)
}

// NoWebhook is a MutatingWebhookConfiguration without a webhook.
func NoWebhook(configuration string) Finding {
	return found(CodeNotRegistered, Subject{}, "the MutatingWebhookConfiguration %s has no webhook: no pod is injected", configuration)
}

// FailurePolicyIgnore is a registration with failurePolicy Ignore.
func FailurePolicyIgnore() Finding {
	return found(CodeFailurePolicy, Subject{}, "failurePolicy is Ignore: pods are created without identity while no replica answers")
}

// DeploymentMissing is a webhook whose Deployment is not there.
func DeploymentMissing(name string) Finding {
	return found(CodeDeploymentMissing, Subject{}, "the Deployment %s is gone: labelled pods can't be created", name)
}

// ReplicasNotReady is a webhook that does not have all its replicas.
func ReplicasNotReady(ready, wanted int64, namespace string) Finding {
	return found(CodeReplicas, Subject{}, "%d of %d replicas are ready and up to date: kubectl get pods -n %s", ready, wanted, namespace)
}

// CertificateMissing is a Secret (NAMESPACE/NAME) without a certificate.
func CertificateMissing(secret string) Finding {
	return found(CodeCertificateMissing, Subject{}, "the Secret %s holds no certificate yet", secret)
}

// CertificateUnreadable is a Secret (NAMESPACE/NAME) with something else.
func CertificateUnreadable(secret string, problem error) Finding {
	return found(CodeCertificateUnreadable, Subject{}, "the certificate in Secret %s can't be read: %v", secret, problem)
}

// CertificateExpired is a certificate whose time is over.
func CertificateExpired(at time.Time) Finding {
	return found(CodeCertificateExpired, Subject{}, "the webhook's certificate expired at %s: labelled pods can't be created", at.UTC().Format(time.RFC3339))
}

// CertificateExpires is a certificate whose time is over soon.
func CertificateExpires(at time.Time) Finding {
	return found(CodeCertificateExpires, Subject{}, "the webhook's certificate expires at %s and was not renewed", at.UTC().Format(time.RFC3339))
}

// BundleEmpty is a registration without an authority.
func BundleEmpty(configuration string) Finding {
	return found(CodeBundle, Subject{}, "the caBundle of %s is empty: labelled pods can't be created", configuration)
}

// BundleWrong is a registration with another certificate's authority.
func BundleWrong(configuration string, problem error) Finding {
	return found(CodeBundle, Subject{}, "the caBundle of %s does not match the webhook's certificate: %v", configuration, problem)
}

// PodRefused is a labelled pod that was not admitted.
func PodRefused(namespace string, problem error) Finding {
	return found(CodePodRefused, Subject{}, "a labelled pod can't be created in namespace %s: %v", namespace, problem)
}

// PodNotInjected is a labelled pod that was admitted as it is.
func PodNotInjected(namespace string) Finding {
	return found(CodePodNotInjected, Subject{}, "a labelled pod in namespace %s is not injected", namespace)
}

// WrongTenant is a pod that was injected by something else.
func WrongTenant(got, want string) Finding {
	return found(CodePodNotInjected, Subject{}, "a labelled pod was admitted with tenant %s instead of %s", quote(got), quote(want))
}

// Drift reports objects that were changed after azwi installed them.
func Drift(differences int) Finding {
	return found(CodeDrift, Subject{}, "differences from what was installed: %d; run azwi upgrade to undo them", differences)
}

// PodsWithoutIdentity are labelled pods that nothing was injected into.
func PodsWithoutIdentity(pods int) Finding {
	return found(CodePodsWithoutIdentity, Subject{}, "labelled pods that were never injected: %d; delete them, so that their controllers create new ones", pods)
}

// PodsWithStaleIdentity are pods with a client ID that their service account no longer
// names.
func PodsWithStaleIdentity(pods int) Finding {
	return found(CodePodsWithStaleIdentity, Subject{}, "pods with a client ID that their service account no longer names: %d; restart them, so that they get the new one", pods)
}

// PodsWithoutLabel are pods that do not opt in, and whose service account has a client ID.
func PodsWithoutLabel(pods int) Finding {
	return found(CodePodsWithoutLabel, Subject{Key: contract.UseLabel},
		"pods without the label %s whose service account has a client ID: %d; add the label to their pod templates if they need the identity; azwi doctor -A lists the workloads", contract.UseLabel, pods)
}

// NotReadable is a part of the installation that could not be read.
func NotReadable(what string, problem error) Finding {
	return found(CodeNotReadable, Subject{}, "%s: %v", what, problem)
}

// DriftNotRecorded is an installation of somebody else.
func DriftNotRecorded() Finding {
	return found(CodeDriftUnknown, Subject{}, "drift: only what azwi installed can be compared")
}

// DriftUnfinished is an installation that is being changed.
func DriftUnfinished(phase string) Finding {
	return found(CodeDriftUnknown, Subject{}, "drift: unknown until the %s has ended", phase)
}

// DriftOtherVersion is an installation by another version of azwi.
func DriftOtherVersion(installed, own string) Finding {
	return found(CodeDriftUnknown, Subject{}, "drift: version %s is installed, and this is azwi %s: run azwi upgrade to install this version", installed, own)
}

// What keeps an installation from being made or changed.

const installedAlready = "it is installed already"

// Installed is an installation of azwi's.
func Installed(version, engine, namespace string) Finding {
	return found(CodeInstalled, Subject{}, "%s (version %s, engine %s, namespace %s): use azwi upgrade", installedAlready, version, engine, namespace)
}

// InstalledElsewhere is an installation in another namespace than the one asked for.
func InstalledElsewhere(namespace, wanted string) Finding {
	return found(CodeInstalled, Subject{}, "%s, in namespace %s: it can't be moved to %s; omit --namespace, or uninstall it first", installedAlready, namespace, wanted)
}

// InstalledByAKS is the add-on.
func InstalledByAKS() Finding {
	return found(CodeInstalled, Subject{}, "%s: the workload identity add-on of AKS is on, and AKS reverts changes to it: "+
		"use it as it is, or turn it off (az aks update --disable-workload-identity) and then run azwi install", installedAlready)
}

// InstalledByHelm is a release; the command is azwi's that the user called.
func InstalledByHelm(release, namespace, command string) Finding {
	return found(CodeInstalled, Subject{}, "%s as Helm's release %s in namespace %s: either stay with Helm (helm upgrade %s CHART -n %s --reuse-values, with azwi's chart), "+
		"or let azwi manage it from now on: azwi %s --take-over --tenant-id ID (workloads and certificate stay as they are; Helm's record of the release is removed)",
		installedAlready, release, namespace, release, namespace, command)
}

// InstalledByOthers is an installation from manifests.
func InstalledByOthers(what, command string) Finding {
	return found(CodeInstalled, Subject{}, "%s, as %s: to let azwi manage it from now on, run azwi %s --take-over --tenant-id ID (workloads and certificate stay as they are)",
		installedAlready, what, command)
}

const notInstalled = "azwi is not installed in this cluster"

// NotInstalled is a cluster without an installation.
func NotInstalled() Finding { return found(CodeNotInstalled, Subject{}, "%s", notInstalled) }

// NothingToUpgrade is the same for those who want to change it.
func NothingToUpgrade() Finding {
	return found(CodeNotInstalled, Subject{}, "%s: run azwi install", notInstalled)
}

// NothingInstalled is a cluster in which nothing injects, whoever may have installed it.
func NothingInstalled() Finding {
	return found(CodeNotInstalled, Subject{}, "nothing is installed: run azwi install")
}

// HelmUninstalls is an installation that Helm removes.
func HelmUninstalls(release, namespace string) Finding {
	return found(CodeNotInstalled, Subject{}, "azwi does not manage this installation: remove Helm's release %s in namespace %s with: helm uninstall %s -n %s", release, namespace, release, namespace)
}

// AKSUninstalls is an installation that AKS removes.
func AKSUninstalls() Finding {
	return found(CodeNotInstalled, Subject{}, "azwi does not manage this installation, which is the add-on of AKS: turn it off with: az aks update --disable-workload-identity")
}

// OthersUninstall is an installation from manifests.
func OthersUninstall() Finding {
	return found(CodeNotInstalled, Subject{}, "azwi does not manage this installation: remove it with the manifests that it was applied from, or run azwi install --take-over --tenant-id ID and then azwi uninstall")
}

// KubernetesTooOld is a cluster that azwi is not for.
func KubernetesTooOld(minor int, version string) Finding {
	return found(CodeKubernetesTooOld, Subject{}, "azwi needs Kubernetes 1.%d or later, this is %s", minor, version)
}

// NoPolicies is a cluster that the policy engine is not for.
func NoPolicies(minor int, version string) Finding {
	return found(CodeKubernetesTooOld, Subject{}, "the policy engine needs Kubernetes 1.%d or later, this is %s: use the webhook", minor, version)
}

// NotKubernetes is a version that is none of Kubernetes.
func NotKubernetes(version string) Finding {
	return found(CodeKubernetesTooOld, Subject{}, "%s is not a version of Kubernetes 1", quote(version))
}

// SwitchNeedsWait is a switch of engines without a proof.
func SwitchNeedsWait(from, to string) Finding {
	return found(CodeSwitchNeedsWait, Subject{}, "the engine can't be changed from %s to %s with --wait=false, because the new one has to be shown to work first", from, to)
}

// UnfinishedSwitchNeedsWait is the same for a switch that was interrupted.
func UnfinishedSwitchNeedsWait() Finding {
	return found(CodeSwitchNeedsWait, Subject{}, "a switch of engines was interrupted; it can't be finished with --wait=false, because the engine has to be shown to work first")
}

// APIMissing is an object that the API server has no API for.
func APIMissing(object fmt.Stringer, apiVersion string) Finding {
	return found(CodeAPIMissing, Subject{}, "%s: the cluster does not know %s; install it first, or change the value that needs it", object, apiVersion)
}

const nothingChanged = "nothing was changed"

// WouldRefuse is an object that the API server refuses in a dry run.
func WouldRefuse(object fmt.Stringer, problem error) Finding {
	return found(CodeWouldRefuse, Subject{}, "%s, because the API server would refuse %s: %v", nothingChanged, object, problem)
}

// WouldNotRemove is an object that the API server does not remove in a dry run.
func WouldNotRemove(object fmt.Stringer, problem error) Finding {
	return found(CodeWouldRefuse, Subject{}, "%s, because the API server would not remove %s: %v", nothingChanged, object, problem)
}

// WouldNotRecord is azwi's record that the API server refuses in a dry run.
func WouldNotRecord(problem error) Finding {
	return found(CodeWouldRefuse, Subject{}, "%s, because azwi could not record what it does: %v", nothingChanged, problem)
}

// ProbeNamespaceMissing is a namespace of --probe-namespace that is not there.
func ProbeNamespaceMissing(problem Finding) Finding {
	return found(problem.code, problem.subject, "%s: --probe-namespace: %s", nothingChanged, problem.text)
}

// PodsNotCreatable is a user who may not try a pod.
func PodsNotCreatable(namespace string) Finding {
	return found(CodePodsNotCreatable, Subject{}, "you may not create pods in namespace %s, not even in a dry run", namespace)
}

// NotVerifiable is the same for an installation, which is proven by a pod.
func NotVerifiable(problem error) Finding {
	return found(CodePodsNotCreatable, Subject{}, "%s, because the installation could not be verified: %v; obtain the right, or use --wait=false", nothingChanged, problem)
}

const otherRun = "another azwi install, upgrade or uninstall is changing this installation"

// OtherRun is a run of azwi that wrote the record first.
func OtherRun() Finding {
	return found(CodeOtherRun, Subject{}, "%s: wait until it ends, check the result with azwi status, and run this command again if it is still needed", otherRun)
}

// OtherRunElsewhere is a run of azwi that installs into another namespace.
func OtherRunElsewhere() Finding {
	return found(CodeOtherRun, Subject{}, "%s, in another namespace: once it has ended, check the result with azwi status", otherRun)
}

// LaterRun is a run of azwi that began after this one.
func LaterRun() Finding {
	return found(CodeOtherRun, Subject{}, "%s: it started after this one, so this one stopped; once it has ended, check the result with azwi status", otherRun)
}

// TwoRecords are records of installations in two namespaces.
func TwoRecords(one, other, name string) Finding {
	return found(CodeTwoRecords, Subject{}, "there are two records of installations, in namespaces %s and %s: delete the ConfigMap %s that is out of date", one, other, name)
}

// RecordUnreadable is a record (NAMESPACE/NAME) of something else.
func RecordUnreadable(configMap string, problem error) Finding {
	return found(CodeRecordUnreadable, Subject{}, "the record of the installation, ConfigMap %s, can't be read: %v", configMap, problem)
}

// SelectorWithoutLabel is a Deployment (NAMESPACE/NAME) that selects its pods by no label.
func SelectorWithoutLabel(deployment string) Finding {
	return found(CodeSelector, Subject{}, "the selector of Deployment %s has no label that its pods have, so no Service can select them: uninstall the existing installation first", deployment)
}

// SelectorFixed is a Deployment whose selector azwi's pods can't match.
func SelectorFixed(deployment, selector fmt.Stringer) Finding {
	return found(CodeSelector, Subject{}, "%s selects pods by %s, which azwi's pods can't match, and a Deployment's selector can't be changed: uninstall the existing installation first", deployment, selector)
}

// TrialLeft is an engine that still leaves trial pods out.
func TrialLeft(engine, label string, problem error) Finding {
	return found(CodeTrialLeft, Subject{Key: label}, "the %s still ignores pods with the label %s, which only trial pods have; run azwi upgrade again: %v", engine, label, problem)
}

// RightsKept is a role that has the rights of the former pods, too.
func RightsKept(role fmt.Stringer) Finding {
	return found(CodeRightsKept, Subject{}, "%s keeps the rights that the former pods need: once the new ones are ready, run azwi upgrade", role)
}

// NotPutBack is a take-over that failed and left something behind.
func NotPutBack(cause, problem error) Finding {
	return found(CodeNotPutBack, Subject{}, "%v; and not everything could be put back as it was, so run the same command again: %v", cause, problem)
}

// ReplicasTimeout is a webhook whose pods were not ready in time.
func ReplicasTimeout() Finding {
	return found(CodeTimedOut, Subject{}, "the webhook's pods are not ready")
}

// InjectionTimeout is an engine that injected no pod in time.
func InjectionTimeout(namespace string) Finding {
	return found(CodeTimedOut, Subject{}, "pods in namespace %s are not injected", namespace)
}

// TrialTimeout is an engine that did not leave trial pods out in time.
func TrialTimeout(namespace string) Finding {
	return found(CodeTimedOut, Subject{}, "the engine to be replaced still injects into trial pods in namespace %s", namespace)
}

// NotWorkingInTime is an installation that was applied and does not work yet; the problem
// says what of it.
func NotWorkingInTime(timeout time.Duration, problem error) Finding {
	return found(CodeTimedOut, Subject{}, "everything was applied, but it does not work after %s: %v; run azwi status for details", timeout, problem)
}
