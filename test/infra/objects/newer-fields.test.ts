import { type ApiObject, App, Chart, JsonPatch } from 'cdk8s'
import { k8s } from 'cdk8s-plus-27'
import { describe, expect, test } from 'vitest'
import { keepNewerFields, nativeSidecar, sleepBeforeStop } from '../../../infra/kit/objects/newer-fields.ts'

const container = { name: 'main', image: 'registry.example/main:1', lifecycle: sleepBeforeStop(5) }
const sidecar = nativeSidecar({ name: 'helper', image: 'registry.example/helper:1' })

function deployment(pod: k8s.PodSpec = { initContainers: [sidecar], containers: [container] }): k8s.KubeDeployment {
  const chart = new Chart(new App(), 'chart')
  return new k8s.KubeDeployment(chart, 'it', { metadata: { name: 'it' }, spec: { selector: {}, template: { spec: pod } } })
}

function kept(object: ApiObject): ApiObject {
  keepNewerFields(object)
  return object
}

// The day this fails, cdk8s-plus writes them itself.
test('cdk8s-plus drops the restart policy of a sidecar and the sleep before a stop', () => {
  const { initContainers, containers } = deployment().toJson().spec.template.spec
  expect(initContainers).toEqual([{ name: 'helper', image: 'registry.example/helper:1' }])
  expect(containers[0].lifecycle).toEqual({ preStop: {} })
})

test('an object keeps them, and all else is as its class writes it', () => {
  const made = deployment()
  const { initContainers, containers, ...rest } = made.toJson().spec.template.spec
  const spec = kept(made).toJson().spec.template.spec
  expect(spec).toEqual({
    ...rest,
    initContainers: [{ ...initContainers[0], restartPolicy: 'Always' }],
    containers: [{ ...containers[0], lifecycle: { preStop: { sleep: { seconds: 5 } } } }],
  })
})

test('what a class writes under another name or as a text stays so', () => {
  const service = new k8s.KubeService(new Chart(new App(), 'chart'), 'it', {
    spec: { clusterIp: 'None', ports: [{ port: 80, targetPort: k8s.IntOrString.fromString('http') }] },
  })
  const written = service.toJson()
  expect(kept(service).toJson()).toEqual(written)
  expect(written.spec).toEqual({ clusterIP: 'None', ports: [{ port: 80, targetPort: 'http' }] })
})

test.each([
  ['a field of a newer Kubernetes', { containers: [container], resources: {} }, 'spec.template.spec.resources'],
  ['a text where the class takes a Quantity', { containers: [], volumes: [{ name: 'tmp', emptyDir: { sizeLimit: '16Mi' } }] }, 'emptyDir.sizeLimit'],
])('%s, which would vanish, is an error that names it', (_, pod, field) => {
  expect(() => kept(deployment(pod as never)).toJson()).toThrow(
    new RegExp(`^Deployment it: cdk8s-plus-27 drops .*${field}: newer than Kubernetes 1\\.27`),
  )
})

test('names that differ in their case are two', () => {
  const annotations = { Team: 'blue', team: 'red' }
  const map = new k8s.KubeConfigMap(new Chart(new App(), 'chart'), 'it', { metadata: { annotations }, data: { A: '1', a: '2' } })
  expect(kept(map).toJson()).toMatchObject({ metadata: { annotations }, data: { A: '1', a: '2' } })
})

test('a field that somebody adds by a patch and that would vanish is an error, too', () => {
  const object = kept(deployment())
  object.addJsonPatch(JsonPatch.add('/spec/template/spec/hostUsers', false), JsonPatch.add('/spec/template/spec/resources', {}))
  expect(() => object.toJson()).toThrow('Deployment it: cdk8s-plus-27 drops spec.template.spec.resources')
})

describe('a patch', () => {
  const patched = (path: string) => {
    const service = new k8s.KubeService(new Chart(new App(), 'chart'), 'it', { metadata: { name: 'it' }, spec: { clusterIp: 'None' } })
    service.addJsonPatch(JsonPatch.add(path, '192.0.2.1'))
    return kept(service)
  }

  test('in the spelling of the class changes the field', () => {
    expect(patched('/spec/clusterIp').toJson().spec).toEqual({ clusterIP: '192.0.2.1' })
  })

  test("in the API's spelling, which the class does not read, is an error that says the other", () => {
    expect(() => patched('/spec/clusterIP').toJson()).toThrow(
      'Service it has spec.clusterIp and spec.clusterIP, which are one field: a patch has to say clusterIp, as cdk8s-plus-27 does',
    )
    expect(() => patched('/spec/loadBalancerIP').toJson()).toThrow(
      'Service it: cdk8s-plus-27 drops spec.loadBalancerIP: newer than Kubernetes 1.27, not in its',
    )
  })
})
