import { Option } from '@commander-js/extra-typings'
import { wholeNumber } from '../command.ts'
import { toRun } from '../remedy.ts'
import { usageError } from '../terminal.ts'

/** Flags that mean the same in every command that has them. */
export const CONTEXT = new Option('--context <name>', 'a context of the kubeconfig').default('kind-fairlead')
/** Of commands that change a cluster: no default, so that nobody changes one that they did not name. */
export const TARGET = new Option('--context <name>', 'a context of the kubeconfig, needed; no other is ever touched')
export const JSON_OUTPUT = new Option('--json', 'print the outcome as JSON on standard output')
export const TIMEOUT = new Option('--timeout <seconds>', 'how long pods may take to be ready')
  .argParser(wholeNumber({ min: 1, max: 3_600 }))
  .default(300)
export const CRDS = new Option('--crds <folder>', "prometheus-operator's CRDs, instead of downloading its release").env('FAIRLEAD_CRDS')
export const CRDS_SHA256 = new Option('--crds-sha256 <hex>', 'what the download must be').env('FAIRLEAD_CRDS_SHA256')
export const GATEWAY_CRDS = new Option('--gateway-crds <folder>', "Gateway API's CRDs, for ROUTE=gateway").env('FAIRLEAD_GATEWAY_CRDS')
export const GATEWAY_CRDS_SHA256 = new Option('--gateway-crds-sha256 <hex>', 'what their download must be').env('FAIRLEAD_GATEWAY_CRDS_SHA256')

/** @throws CommandError, exit code 2, without a context: commander would complain of that before it sees a misspelt --context */
export function targetOf(context: string | undefined): string {
  if (context) return context
  throw usageError('--context is missing: name the cluster', toRun('kubectl config get-contexts'))
}

/** Said at the end of the help of commands that read settings. */
export const SETTINGS = 'Settings of an environment, such as HOST and IMAGE_REGISTRY, are environment variables: fairlead synth --help lists them.'
