import { describe, expect, test } from 'vitest'
import { parseDocument } from 'yaml'
import { helmChart } from '../../../infra/kit/helm/chart.ts'
import { block, entries, text, toTemplate } from '../../../infra/kit/helm/expressions.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { images, project } from '../../support/acme.ts'

const settings = loadSettings({}, project.system)

describe('the chart', () => {
  const chart = helmChart(project, settings, { hello: 'h1', stock: 's1', booking: 'b1' })

  test('leaves no mark behind, and no placeholder', () => {
    for (const [path, content] of chart) expect(content, path).not.toMatch(/[⟦⟧]|\.invalid/)
  })

  test('has a template for each object', () => {
    const { own } = synthesize({ ...project, settings, images })
    const objects = own
      .filter(({ kind }) => kind !== 'Namespace')
      .map(({ kind, metadata }) => `templates/${metadata.name}-${kind.toLowerCase()}.yaml`)
    expect([...chart.keys()].filter(path => /^templates\/.*\.yaml$/.test(path)).sort()).toEqual(objects.sort())
  })

  test('has no namespace, which an uninstall would delete with the Secrets and the database', () => {
    for (const [path, content] of chart) expect(content, path).not.toMatch(/^kind: Namespace$/m)
  })

  test('says each value for itself: an edit of one service changes no other', () => {
    const values = parseDocument(chart.get('values.yaml') ?? '')
    values.setIn(['services', 'stock', 'resources', 'limits', 'memory'], '1Gi')
    expect(values.toJS().services.booking.resources.limits.memory).toBe('384Mi')
    for (const [path, content] of chart) if (path.endsWith('.yaml')) expect(content, path).not.toMatch(/^ *(- |[\w-]+: )[&*]\w+$/m)
  })

  test('says what each value is', () => {
    const values = chart.get('values.yaml') ?? ''
    for (const line of values.split('\n').filter(Boolean)) expect(line).not.toMatch(/undefined|null/)
    expect(values).toContain('  # Tag of its image\n    tag: h1')
  })

  test.each([
    ['deployment', 'stock', 'image: {{ .Values.image.registry }}/stock:{{ .Values.services.stock.tag }}'],
    ['ingress', 'stock', 'host: {{ .Values.host | quote }}'],
    ['horizontalpodautoscaler', 'stock', 'minReplicas: {{ .Values.services.stock.minReplicas }}'],
    ['servicemonitor', 'stock', '{{- with .Values.monitoring.labels }}'],
    ['deployment', 'booking', 'audience: stock.{{ .Release.Namespace }}'],
  ])('%s of %s has %s', (kind, name, line) => {
    expect(chart.get(`templates/${name}-${kind}.yaml`)).toContain(line)
  })
})

describe('a template', () => {
  test.each([
    [`a: ${text('.Values.a')}`, 'a: {{ .Values.a | quote }}'],
    [`- "${text('.Values.a')}"`, '- {{ .Values.a | quote }}'],
    [`url: https://${text('.Values.a')}/x`, 'url: https://{{ .Values.a }}/x'],
    [`  a: ${block('.Values.a')}`, '  a: {{- toYaml .Values.a | nindent 4 }}'],
    [`  - ${Object.keys(entries('.Values.a'))[0]}: ""`, '{{- with .Values.a }}{{ toYaml . | nindent 4 }}{{- end }}'],
    ['a: b', 'a: b'],
    ['a: of {{ $value }} and {{ $labels.x }}', 'a: of {{ `{{ $value }}` }} and {{ `{{ $labels.x }}` }}'],
  ])('%s', (yaml, template) => {
    expect(toTemplate(yaml)).toBe(template)
  })
})
