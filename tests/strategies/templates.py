"""One valid object of every kind that is watched or read, with every field that is looked at."""

from typing import Any, Final

Json = dict[str, Any]

LABELS: Final = {
    "app.kubernetes.io/managed-by": "beamlit-controller",
    "deployment.beamlit.com/gateway": "llama",
    "app": "llama",
}


def _about(**more: object) -> Json:
    owner = {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "o", "controller": True}
    return {
        "namespace": "evil",
        "name": "llama",
        "uid": "u",
        "resourceVersion": "7",
        "generation": 3,
        "labels": dict(LABELS),
        "annotations": {"a": "b"},
        "ownerReferences": [owner],
        **more,
    }


_CONTAINER: Final = {
    "name": "main",
    "image": "a",
    "restartPolicy": "Always",
    "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"cpu": "2"}},
    "ports": [{"name": "offload-stats", "containerPort": 9000, "protocol": "TCP"}],
}
_CONDITION: Final = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-06-01T12:00:00Z", "message": "m"}

TEMPLATES: Final[dict[str, Json]] = {
    "ModelDeployment": {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": _about(
            finalizers=["deployment.beamlit.com/give-back"],
            annotations={
                "offloading.beamlit.com/override": "25",
                "offloading.beamlit.com/override-until": "2026-06-01T12:00:00Z",
                "offloading.beamlit.com/override-author": "a",
                "offloading.beamlit.com/override-reason": "r",
            },
        ),
        "spec": {
            "model": "llama",
            "enabled": True,
            "modelSourceRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"},
            "serviceRef": {"name": "llama", "targetPort": 8000},
            "offloadingConfig": {
                "remoteBackend": {"host": "api.example.com", "scheme": "https"},
                "behavior": {"percentage": 50},
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                    }
                ],
            },
        },
        "status": {
            "offloading": {"percentage": 50, "atMost": 80},
            "record": "{}",
            "conditions": [dict(_CONDITION)],
        },
    },
    "Service": {
        "metadata": _about(
            annotations={
                "deployment.beamlit.com/original-selector": '{"app": "llama"}',
                "deployment.beamlit.com/taken-by": "llama",
                "deployment.beamlit.com/reverted-at": "2026-06-01T12:00:00Z",
            }
        ),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.0.0.1",
            "clusterIPs": ["10.0.0.1"],
            "externalIPs": ["192.0.2.1"],
            "ipFamilies": ["IPv4", "IPv6"],
            "selector": {"app": "beamlit-gateway-0123456789abcdef"},
            "sessionAffinity": "ClientIP",
            "internalTrafficPolicy": "Local",
            "publishNotReadyAddresses": True,
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2", "hostname": "x.example"}]}},
    },
    "Pod": {
        "metadata": _about(deletionTimestamp="2026-06-01T12:00:00Z"),
        "spec": {
            "containers": [_CONTAINER],
            "initContainers": [_CONTAINER],
            "overhead": {"cpu": "10m"},
            "resources": {"requests": {"cpu": "1"}},
        },
        "status": {
            "phase": "Running",
            "podIP": "10.1.2.3",
            "podIPs": [{"ip": "10.1.2.3"}, {"ip": "fd00::3"}],
            "containerStatuses": [
                {
                    "name": "envoy",
                    "ready": False,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "x"}},
                }
            ],
            "startTime": "2026-06-01T12:00:00Z",
            "conditions": [dict(_CONDITION)],
        },
    },
    "HorizontalPodAutoscaler": {
        "metadata": _about(),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"},
            "metrics": [
                {
                    "type": "External",
                    "external": {"metric": {"name": "queue", "selector": {"matchLabels": {"a": "b"}}}},
                }
            ],
        },
    },
    "ConfigMap": {"metadata": _about(), "data": {"a": "b"}, "binaryData": {"c": "ZA=="}},
    "Deployment": {
        "metadata": _about(),
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "llama"}}, "template": {"spec": {}}},
        "status": {"readyReplicas": 2, "updatedReplicas": 2, "conditions": [dict(_CONDITION)]},
    },
    "PodDisruptionBudget": {"metadata": _about(), "spec": {"minAvailable": "50%"}, "status": {"currentHealthy": 1}},
    "NetworkPolicy": {
        "metadata": _about(),
        "spec": {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}}]}]},
    },
    "EndpointSlice": {
        "metadata": _about(),
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": True}, "targetRef": {"name": "a"}}],
        "ports": [{"name": "http", "port": 8000}],
    },
    "Lease": {
        "metadata": _about(),
        "spec": {
            "holderIdentity": "one",
            "leaseDurationSeconds": 15,
            "renewTime": "2026-06-01T12:00:00.000000Z",
            "leaseTransitions": 1,
        },
    },
    "Scale": {
        "metadata": _about(),
        "spec": {"replicas": 2},
        "status": {"replicas": 2, "selector": "app=llama,tier in (a,b)"},
    },
    "PodMetricsList": {
        "items": [
            {
                "metadata": {"name": "one"},
                "timestamp": "2026-06-01T12:00:00Z",
                "window": "15s",
                "containers": [{"name": "main", "usage": {"cpu": "250m", "memory": "1Gi"}}],
            }
        ]
    },
    "MetricValueList": {
        "items": [
            {
                "describedObject": {"kind": "Pod", "name": "one"},
                "metric": {"name": "queue"},
                "timestamp": "2026-06-01T12:00:00Z",
                "windowSeconds": 60,
                "value": "250m",
            }
        ]
    },
    "APIGroupList": {
        "groups": [
            {
                "name": "custom.metrics.k8s.io",
                "versions": [{"groupVersion": "custom.metrics.k8s.io/v1beta2", "version": "v1beta2"}],
                "preferredVersion": {"version": "v1beta2"},
            },
            {"name": "apps", "versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}},
        ]
    },
    "APIResourceList": {"resources": [{"name": "deployments", "kind": "Deployment", "namespaced": True}]},
    "Vector": {
        "status": "success",
        "data": {"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [1780315200.0, "12.5"]}]},
    },
    "Matrix": {
        "status": "success",
        "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1780315200, "1"], [1780315260, "2"]]}]},
    },
}
