/** The oldest Kubernetes that has all that the manifests use: the collector needs native sidecars (KEP-753), stable since 1.33. */
export const OLDEST_KUBERNETES = '1.33'
