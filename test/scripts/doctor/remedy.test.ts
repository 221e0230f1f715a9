import { expect, test } from 'vitest'
import { addressTo } from '../../../scripts/doctor/remedy.ts'

test.each([
  [
    'npx fairlead status, or put it back: npx fairlead deploy',
    'HOST=a.example npx fairlead status --context x, or put it back: HOST=a.example npx fairlead deploy --context x',
  ],
  ['npx fairlead logs gift-card; see above', 'HOST=a.example npx fairlead logs gift-card --context x; see above'],
  ['npx fairlead secrets --context y, or wait', 'HOST=a.example npx fairlead secrets --context x, or wait'],
  ['kubectl -n acme get pods', 'kubectl --context x -n acme get pods'],
  ['npx fairlead up makes one', 'npx fairlead up makes one'],
])('%j is addressed to the cluster that is looked at', (text, addressed) => {
  expect(addressTo('x', { HOST: 'a.example' })(text)).toBe(addressed)
})
