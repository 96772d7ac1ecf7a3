package workload

import "strings"

// Known returns Kubernetes' own kinds and those of other projects whose definitions
// say where their pods come from.
func Known() Shapes {
	var known Shapes
	for _, k := range Kinds() {
		path := "."
		if len(k.Template) > 0 {
			path = strings.Join(k.Template, ".")
		}
		known = append(known, Shape{Group: k.Group, Kind: k.Kind, Pods: []Place{{Template: path}}})
	}
	return append(known, others()...)
}

// others are the kinds of other projects, by group.
func others() Shapes {
	template := func(paths ...string) (pods []Place) {
		for _, path := range paths {
			pods = append(pods, Place{Template: path})
		}
		return pods
	}
	metadata := func(account string, paths ...string) (pods []Place) {
		for _, path := range paths {
			pods = append(pods, Place{Metadata: path, ServiceAccountName: account})
		}
		return pods
	}
	// Argo's workflows: the spec, in the object or in one that makes workflows of it.
	workflow := func(spec string) []Place {
		return metadata(spec+".serviceAccountName", spec+".podMetadata", spec+".templateDefaults.metadata", spec+".templates[].metadata")
	}
	spark := func(spec string) (pods []Place) {
		for _, role := range []string{spec + ".driver", spec + ".executor"} {
			pods = append(
				pods,
				Place{Labels: role + ".labels", Annotations: role + ".annotations", ServiceAccountName: role + ".serviceAccount"},
				Place{Template: role + ".template"},
			)
		}
		return pods
	}
	ray := func(spec string) []Place {
		return template(spec+".headGroupSpec.template", spec+".workerGroupSpecs[].template")
	}
	strimzi := func(parts ...string) (pods []Place, accounts []string) {
		for _, part := range parts {
			pods = append(pods, Place{Metadata: part + ".template.pod.metadata"})
			accounts = append(accounts, part+".template.serviceAccount.metadata")
		}
		return pods, accounts
	}
	kafka, kafkaAccounts := strimzi("spec.kafka", "spec.zookeeper", "spec.entityOperator", "spec.cruiseControl", "spec.kafkaExporter")
	kafkaPart, kafkaPartAccounts := strimzi("spec")

	return Shapes{
		{"actions.github.com", "AutoscalingRunnerSet", template("spec.template"), nil},

		{"apps.kruise.io", "CloneSet", template("spec.template"), nil},
		{"apps.kruise.io", "DaemonSet", template("spec.template"), nil},
		{"apps.kruise.io", "StatefulSet", template("spec.template"), nil},
		{"apps.openshift.io", "DeploymentConfig", template("spec.template"), nil},

		// https://argo-rollouts.readthedocs.io/en/stable/features/specification/
		{"argoproj.io", "Rollout", template("spec.template"), nil},
		// https://argo-workflows.readthedocs.io/en/latest/fields/
		{"argoproj.io", "Workflow", workflow("spec"), nil},
		{"argoproj.io", "WorkflowTemplate", workflow("spec"), nil},
		{"argoproj.io", "ClusterWorkflowTemplate", workflow("spec"), nil},
		{"argoproj.io", "CronWorkflow", workflow("spec.workflowSpec"), nil},
		{"argoproj.io", "EventSource", metadata("spec.template.serviceAccountName", "spec.template.metadata"), nil},
		{"argoproj.io", "Sensor", metadata("spec.template.serviceAccountName", "spec.template.metadata"), nil},

		{"batch.volcano.sh", "Job", template("spec.tasks[].template"), nil},
		{"flink.apache.org", "FlinkDeployment", template("spec.podTemplate", "spec.jobManager.podTemplate", "spec.taskManager.podTemplate"), nil},
		{"jobset.x-k8s.io", "JobSet", template("spec.replicatedJobs[].template.spec.template"), nil},

		// https://strimzi.io/docs/operators/latest/configuring
		{"kafka.strimzi.io", "Kafka", kafka, kafkaAccounts},
		{"kafka.strimzi.io", "KafkaNodePool", kafkaPart, nil},
		{"kafka.strimzi.io", "KafkaConnect", kafkaPart, kafkaPartAccounts},
		{"kafka.strimzi.io", "KafkaMirrorMaker2", kafkaPart, kafkaPartAccounts},
		{"kafka.strimzi.io", "KafkaBridge", kafkaPart, kafkaPartAccounts},

		// https://keda.sh/docs/latest/reference/scaledjob-spec/
		{"keda.sh", "ScaledJob", template("spec.jobTargetRef.template"), nil},

		{"kubeflow.org", "MPIJob", template("spec.mpiReplicaSpecs.*.template"), nil},
		{"kubeflow.org", "PyTorchJob", template("spec.pytorchReplicaSpecs.*.template"), nil},
		{"kubeflow.org", "TFJob", template("spec.tfReplicaSpecs.*.template"), nil},

		{"monitoring.coreos.com", "Alertmanager", metadata("spec.serviceAccountName", "spec.podMetadata"), nil},
		{"monitoring.coreos.com", "Prometheus", metadata("spec.serviceAccountName", "spec.podMetadata"), nil},
		{"monitoring.coreos.com", "PrometheusAgent", metadata("spec.serviceAccountName", "spec.podMetadata"), nil},
		{"monitoring.coreos.com", "ThanosRuler", metadata("spec.serviceAccountName", "spec.podMetadata"), nil},

		// https://docs.crossplane.io/latest/packages/providers/#runtime-configuration
		{"pkg.crossplane.io", "DeploymentRuntimeConfig", template("spec.deploymentTemplate.spec.template"), []string{"spec.serviceAccountTemplate.metadata"}},

		// https://cloudnative-pg.io/documentation/current/labels_annotations/
		{"postgresql.cnpg.io", "Cluster", metadata("", "spec.inheritedMetadata"), []string{"spec.serviceAccountTemplate.metadata"}},
		{"postgresql.cnpg.io", "Pooler", template("spec.template"), nil},

		{"ray.io", "RayCluster", ray("spec"), nil},
		{"ray.io", "RayJob", ray("spec.rayClusterSpec"), nil},
		{"ray.io", "RayService", ray("spec.rayClusterConfig"), nil},

		// https://knative.dev/docs/serving/reference/serving-api/
		{"serving.knative.dev", "Service", template("spec.template"), nil},
		{"serving.knative.dev", "Configuration", template("spec.template"), nil},
		{"serving.knative.dev", "Revision", template("."), nil},

		{"sparkoperator.k8s.io", "SparkApplication", spark("spec"), nil},
		{"sparkoperator.k8s.io", "ScheduledSparkApplication", spark("spec.template"), nil},

		// Labels and annotations reach the pods from each of them.
		// https://tekton.dev/docs/pipelines/labels/
		{"tekton.dev", "Task", metadata("", "metadata"), nil},
		{"tekton.dev", "ClusterTask", metadata("", "metadata"), nil},
		{"tekton.dev", "TaskRun", metadata("spec.serviceAccountName", "metadata"), nil},
		{"tekton.dev", "Pipeline", metadata("", "metadata", "spec.tasks[].taskSpec.metadata", "spec.finally[].taskSpec.metadata"), nil},
		{"tekton.dev", "PipelineRun", metadata(
			"spec.taskRunTemplate.serviceAccountName", "metadata", "spec.pipelineSpec.tasks[].taskSpec.metadata",
			"spec.pipelineSpec.finally[].taskSpec.metadata", "spec.taskRunSpecs[].metadata"), nil},
	}
}
