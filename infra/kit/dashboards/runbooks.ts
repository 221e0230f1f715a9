import { readFileSync } from 'node:fs'
import { type Dashboard, DashboardBuilder } from '@grafana/grafana-foundation-sdk/dashboard'
import { PanelBuilder as TextBuilder, TextMode } from '@grafana/grafana-foundation-sdk/text'
import { runbookFiles } from '../alerts/runbooks.ts'
import type { Context } from '../objects/context.ts'
import { ProjectError } from '../settings/project.ts'

export const uidOf = (system: string, name: string): string => `${system}-${name}`

/**
 * Number of the panel that has a runbook.
 * @throws ProjectError naming the file that is missing
 */
export function runbookPanel(root: string, runbook: string): number {
  const index = [...runbookFiles(root).keys()].indexOf(runbook)
  if (index < 0) throw new ProjectError(`docs/runbooks/${runbook}.md is not there, and a panel links to it`)
  return index + 1
}

/** Words of the runbooks that a setting fills in. The others come from the alert, or the reader knows them. */
const FILLED_IN = ['NAMESPACE', 'MONITORING_NAMESPACE', 'TLS_SECRET'] as const

/** The runbooks, where dashboards can link to them: next to the figures, also when the repository is out of reach. */
export function runbooksDashboard({ system: { name: system }, root, settings }: Pick<Context, 'system' | 'root' | 'settings'>): Dashboard {
  const builder = new DashboardBuilder('Runbooks')
    .uid(uidOf(system, 'runbooks'))
    .description('What to look at and do, one an alert: docs/runbooks.')
    .tags([system])
    .readonly()
  for (const [name, file] of runbookFiles(root)) {
    const text = readFileSync(file, 'utf8')
    const content = FILLED_IN.reduce((filled, word) => filled.replaceAll(new RegExp(`\\b${word}\\b`, 'g'), () => settings[word]), text)
    const panel = new TextBuilder().id(runbookPanel(root, name)).title(name).description(`docs/runbooks/${name}.md`)
    builder.withPanel(panel.mode(TextMode.Markdown).content(content).span(12).height(14))
  }
  return builder.build()
}
