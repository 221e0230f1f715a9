import { type SystemDefinition, settingVariable } from '@fairlead/chassis'
import { type Settings, someSettings } from '@fairlead/infra/tools'
import type { Cluster } from '../cluster/cluster.ts'

type Env = Record<string, string | undefined>

/** An environment with the required settings of services that it lacks, as the cluster has them: who looks need not say what was deployed. */
export async function withDeployed(cluster: Cluster, system: SystemDefinition, env: Env): Promise<Env> {
  const found = await Promise.all(
    system.services.map(async ({ name, settings = {} }) => {
      const missing = Object.keys(settings).filter(
        setting => !env[settingVariable(name, setting)] && !settings[setting]?.safeParse(undefined).success,
      )
      if (missing.length === 0) return []
      const { NAMESPACE: namespace } = someSettings(env, system, 'NAMESPACE')
      const live = await cluster.read({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace } })
      const container = live?.spec.template.spec.containers.find((one: { name: string }) => one.name === name)
      const said: { name: string; value?: string }[] = container?.env ?? []
      return missing.map(setting => [settingVariable(name, setting), said.find(one => one.name === setting)?.value])
    }),
  )
  return { ...env, ...Object.fromEntries(found.flat()) }
}

/** What an environment says of settings, which a command that is to mean the same system has to say again; the others have their defaults. */
export const said = (env: Env, settings: Settings): Record<string, string> =>
  Object.fromEntries(Object.keys(settings).flatMap(name => (env[name] ? [[name, env[name]]] : [])))
